package sandbox

import (
	_ "embed"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/hongyan-push/hongyan/wechat"
)

//go:embed library.json
var libraryJSON []byte

// library is the public template library (公共模板库). All apps see all of it.
type library struct {
	Categories []wechat.Category `json:"categories"`
	Titles     []*title          `json:"titles"`

	byTID map[string]*title
}

// title is a public template (模板标题).
type title struct {
	TID      int        `json:"tid"`
	Title    string     `json:"title"`
	Type     int        `json:"type"`
	Category int        `json:"category"`
	Keywords []*keyword `json:"keywords"`
}

// keyword is one field that a title offers (关键词).
type keyword struct {
	KID     int      `json:"kid"`
	Name    string   `json:"name"`
	Rule    string   `json:"rule"`
	Example string   `json:"example"`
	Enum    []string `json:"enum"`
}

// theLibrary is read once; it never changes.
var theLibrary = sync.OnceValue(func() *library {
	l := &library{byTID: make(map[string]*title)}
	if err := json.Unmarshal(libraryJSON, l); err != nil {
		panic("sandbox: library.json: " + err.Error()) // it is part of the program
	}
	for _, t := range l.Titles {
		l.byTID[strconv.Itoa(t.TID)] = t
	}
	return l
})

func (t *title) keyword(kid int) *keyword {
	for _, k := range t.Keywords {
		if k.KID == kid {
			return k
		}
	}
	return nil
}

// key is the name of the field in a send's data: type and number, where enum is
// spelt enum_string. The number is the kid, not the position.
func (k *keyword) key() string {
	rule := k.Rule
	if rule == ruleEnum {
		rule = "enum_string"
	}
	return rule + strconv.Itoa(k.KID)
}

// sampleKIDs picks up to five keywords of different types.
func (t *title) sampleKIDs() []int {
	var kids []int
	seen := make(map[string]bool)
	for _, k := range t.Keywords {
		if len(kids) < maxKIDs && !seen[k.Rule] {
			seen[k.Rule] = true
			kids = append(kids, k.KID)
		}
	}
	return kids
}
