package hongyan

import "fmt"

// Scene is a moment of the mini program at which it asks for subscriptions, such as a paid
// order, with what it asks for.
type Scene struct {
	Name      string          `json:"name" doc:"1 to 64 characters of a-z 0-9 _ and -."`
	Templates []SceneTemplate `json:"templates"`
}

// SceneTemplate is one template of a scene.
type SceneTemplate struct {
	Template string `json:"template" doc:"template_id or alias."`
	// Wanted is the stock of grants up to which the mini program asks for more.
	Wanted int `json:"wanted,omitempty" minimum:"0" maximum:"20" doc:"How many unused grants are wanted in stock. Default 1."`
}

// Limits of scenes.
const (
	MaxSceneName      = 64
	MaxSceneTemplates = 10
	MaxWanted         = MaxOutstanding
)

// Check names every fault of the scene.
func (s Scene) Check() error {
	var f []FieldError
	ok := s.Name != "" && len(s.Name) <= MaxSceneName
	for _, c := range []byte(s.Name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}
	if !ok {
		f = append(f, FieldError{Pointer: "/name", Code: "name", Detail: "A scene's name is 1 to 64 characters of a-z 0-9 _ and -."})
	}
	if len(s.Templates) == 0 || len(s.Templates) > MaxSceneTemplates {
		f = append(f, FieldError{Pointer: "/templates", Code: "length", Detail: fmt.Sprintf("A scene asks for 1 to %d templates.", MaxSceneTemplates)})
	}
	for i, t := range s.Templates {
		if t.Wanted < 0 || t.Wanted > MaxWanted {
			f = append(f, FieldError{Pointer: fmt.Sprintf("/templates/%d/wanted", i), Code: "range", Detail: fmt.Sprintf("wanted is 0 to %d.", MaxWanted)})
		}
	}
	return fieldsError(f)
}
