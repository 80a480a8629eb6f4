package cli

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/hongyan-push/hongyan"
)

// importFile is what a file of counts says, and the number of each item's line.
type importFile struct {
	items []hongyan.ImportItem
	lines []int
}

// importColumns are the columns of a CSV file; the last may be missing.
var importColumns = []string{"openid", "template", "count", "exact"}

// readImport reads CSV, or JSON lines if the first character is a brace. What it does not
// understand it refuses, for a count that is misread gives or takes grants.
func (p *program) readImport(r io.Reader) (importFile, error) {
	b := bufio.NewReader(r)
	if first, err := b.Peek(3); err == nil && string(first) == "\xef\xbb\xbf" {
		_, _ = b.Discard(3) // spreadsheets begin UTF-8 with it
	}
	if first, _ := b.Peek(1); string(first) == "{" {
		return p.readImportJSON(b)
	}
	return p.readImportCSV(b)
}

func (p *program) readImportCSV(r io.Reader) (f importFile, err error) {
	c := csv.NewReader(r)
	header, err := c.Read()
	if errors.Is(err, io.EOF) {
		return f, p.badLine(1, p.say("the file is empty"))
	} else if err != nil {
		return f, p.badRow(err)
	}
	at := make(map[string]int)
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := at[name]; twice || !slices.Contains(importColumns, name) {
			return f, p.badLine(1, p.say("column %q is there twice or unknown; they are openid,template,count,exact", clipped(name, 20)))
		}
		at[name] = i
	}
	for _, name := range importColumns[:3] {
		if _, ok := at[name]; !ok {
			return f, p.badLine(1, p.say("the header has no column %s; it is openid,template,count,exact", name))
		}
	}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return f, nil
		} else if err != nil {
			return f, p.badRow(err)
		}
		line, _ := c.FieldPos(0)
		field := func(name string) string {
			if i, ok := at[name]; ok {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		it := hongyan.ImportItem{OpenID: hongyan.OpenID(field("openid")), Template: field("template")}
		if it.Count, err = strconv.ParseInt(field("count"), 10, 64); err != nil {
			return f, p.badLine(line, p.say("count %q is no number", clipped(field("count"), 20)))
		}
		if word := field("exact"); word != "" {
			if it.Exact, err = strconv.ParseBool(word); err != nil {
				return f, p.badLine(line, p.say("exact %q is neither true nor false", clipped(word, 20)))
			}
		}
		f.items, f.lines = append(f.items, it), append(f.lines, line)
	}
}

func (p *program) readImportJSON(r io.Reader) (f importFile, err error) {
	s := bufio.NewScanner(r)
	line := 1
	for ; s.Scan(); line++ {
		if len(strings.TrimSpace(s.Text())) == 0 {
			continue
		}
		var it struct {
			hongyan.ImportItem
			Count *int64 `json:"count"` // one left out is no zero, which would take all grants away
		}
		d := json.NewDecoder(strings.NewReader(s.Text()))
		d.DisallowUnknownFields()
		if err := d.Decode(&it); err != nil {
			return f, p.badLine(line, strings.TrimPrefix(err.Error(), "json: "))
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return f, p.badLine(line, p.say("something follows the object; write one a line"))
		}
		if it.Count == nil {
			return f, p.badLine(line, p.say("there is no count"))
		}
		it.ImportItem.Count = *it.Count
		f.items, f.lines = append(f.items, it.ImportItem), append(f.lines, line)
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return f, p.badLine(line, p.say("the line is longer than 64 KiB"))
	} else if s.Err() != nil {
		return f, fmt.Errorf("read the file: %w", s.Err())
	}
	return f, nil
}

// badRow says what is wrong with a row of CSV.
func (p *program) badRow(err error) error {
	var row *csv.ParseError
	switch {
	case !errors.As(err, &row):
		return fmt.Errorf("read the file: %w", err)
	case errors.Is(err, csv.ErrFieldCount):
		return p.badLine(row.StartLine, p.say("it has not as many fields as the header"))
	}
	return p.badLine(row.StartLine, p.say("a quotation mark is out of place"))
}

// badLine is a line for which nothing of the file is imported.
func (p *program) badLine(line int, what string) error {
	return p.usage(p.say("line %d: %s", line, what), p.say("Nothing was imported: correct the file and import it again."))
}
