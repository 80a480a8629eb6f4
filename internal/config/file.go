package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ReadFile reads the YAML file. Whatever is wrong with it is reported at once, each fault
// with its line: an unknown key that passed silently would be a setting that does not hold.
func (s *Source) ReadFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	entries, err := parseFile(path, text)
	if err != nil {
		return err
	}
	s.path, s.file = path, entries
	return nil
}

func parseFile(path string, text []byte) (map[string]entry, error) {
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, fmt.Errorf("%s is not YAML: %w", path, err)
	}
	entries := make(map[string]entry)
	var errs []error
	for _, doc := range f.Docs {
		pairs, ok := pairsOf(doc.Body)
		if !ok {
			return nil, fmt.Errorf("%s: the file is a list of `key: value` lines, such as `listen: 127.0.0.1:8420`", path)
		}
		for _, kv := range pairs {
			line := kv.Key.GetToken().Position.Line
			name, e, err := readPair(kv)
			if _, twice := entries[name]; err == nil && twice {
				err = fmt.Errorf("%s stands there twice", kv.Key.GetToken().Value)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: %w", path, line, err))
				continue
			}
			e.line = line
			entries[name] = e
		}
	}
	return entries, errors.Join(errs...)
}

// pairsOf takes a document apart; an empty one has no pairs.
func pairsOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return nil, true
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func readPair(kv *ast.MappingValueNode) (string, entry, error) {
	key := kv.Key.GetToken().Value
	f, err := fieldOfKey(key)
	if err != nil {
		return "", entry{}, err
	}
	v, err := f.readNode(kv.Value)
	if err != nil {
		return "", entry{}, fmt.Errorf("%s: %w", key, err)
	}
	return f.Name, entry{value: v}, nil
}

// fieldOfKey finds the setting, or names the one that was probably meant.
func fieldOfKey(key string) (Field, error) {
	var known []string
	for _, f := range Fields() {
		switch {
		case f.Secret && strings.ReplaceAll(f.Name, "-", "_") == plain(key):
			return Field{}, fmt.Errorf("%s is a secret and does not belong in this file: use %s_file or %s", key, plain(key), f.Env)
		case f.Secret:
		case f.Key == key:
			return f, nil
		default:
			known = append(known, f.Key)
		}
	}
	if near := nearest(plain(key), known); near != "" {
		return Field{}, fmt.Errorf("unknown key %s: did you mean %s?", key, near)
	}
	return Field{}, fmt.Errorf("unknown key %s: the keys are %s", key, strings.Join(known, ", "))
}

func plain(key string) string { return strings.ToLower(strings.ReplaceAll(key, "-", "_")) }

// readNode reads a value as text; kong turns it into the field's type, as it does for flags.
func (f Field) readNode(n ast.Node) (any, error) {
	if seq, ok := n.(*ast.SequenceNode); ok && f.isList() {
		list := []any{}
		for _, item := range seq.Values {
			v, err := scalar(item)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	v, err := scalar(n)
	if err != nil {
		return nil, err
	}
	if v == "" && f.Blank == "" {
		return nil, errors.New("it has no value: give one or remove the line")
	}
	if v == "" {
		return v, nil
	}
	return v, f.check(v)
}

func scalar(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), nil
	case *ast.NullNode:
		return "", nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	}
	return "", fmt.Errorf("a plain value is expected here, not a %s", strings.ToLower(n.Type().String()))
}

// nearest is the candidate with the fewest changes, if they are few for its length.
func nearest(s string, candidates []string) string {
	best, least := "", len(s)/3+2
	for _, c := range candidates {
		if d := distance(s, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to insert, remove or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = slices.Min([]int{row[j] + 1, row[j+1] + 1, replace})
		}
	}
	return row[len(b)]
}
