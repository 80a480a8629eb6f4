package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
)

// outputFlags say how a command prints its data.
type outputFlags struct {
	Output string `name:"output" short:"o" enum:"table,json,jsonl" default:"table" help:"How to print: table, json or jsonl."`
	JSON   bool   `name:"json" help:"The same as -o json."`
}

func (o outputFlags) format() string {
	if o.JSON {
		return "json"
	}
	return o.Output
}

// column is one column of a table of T.
type column[T any] struct {
	title string // English; its Chinese stands in the table of sentences
	cell  func(T) string
}

// page is a list in JSON, in the form of the API's lists.
type page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor,omitempty"`
}

// printList prints things of one kind, a line each.
func printList[T any](p *program, o outputFlags, items []T, cols []column[T]) error {
	switch o.format() {
	case "json":
		if items == nil {
			items = []T{}
		}
		return printJSON(p.stdout, page[T]{Items: items}, "  ")
	case "jsonl":
		for _, it := range items {
			if err := printJSON(p.stdout, it, ""); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items) == 0 {
		p.tell("There is nothing to show.")
		return nil
	}
	rows := make([][]string, 0, len(items)+1)
	head := make([]string, 0, len(cols))
	for _, c := range cols {
		head = append(head, p.say(c.title))
	}
	rows = append(rows, head)
	for _, it := range items {
		row := make([]string, 0, len(cols))
		for _, c := range cols {
			row = append(row, c.cell(it))
		}
		rows = append(rows, row)
	}
	return writeTable(p.stdout, rows)
}

// printOne prints one thing: a line for each of its columns that has something to say.
func printOne[T any](p *program, o outputFlags, item T, cols []column[T]) error {
	switch o.format() {
	case "json":
		return printJSON(p.stdout, item, "  ")
	case "jsonl":
		return printJSON(p.stdout, item, "")
	}
	var rows [][]string
	for _, c := range cols {
		if v := c.cell(item); v != "" {
			rows = append(rows, []string{p.say(c.title), v})
		}
	}
	return writeTable(p.stdout, rows)
}

func printJSON(w io.Writer, v any, indent string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// writeTable aligns columns by the width that a terminal gives their text: a Chinese
// character takes two places.
func writeTable(w io.Writer, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = oneLine(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], uniseg.StringWidth(row[i]))
		}
	}
	var b bytes.Buffer
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// oneLine makes text safe for a cell: others chose it, and a terminal obeys control characters.
func oneLine(s string) string {
	return strings.ReplaceAll(printable(s), "\n", " ⏎ ")
}

// printable replaces what a terminal would obey instead of show.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '�'
		}
		return r
	}, s)
}

// when is a time for a table: local, and short if it is of this year.
func (p *program) when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.Local()
	if t.Year() == p.now().Local().Year() {
		return t.Format("01-02 15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}

// clipped keeps a long value from pushing the rest of a table off the screen.
func clipped(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}
