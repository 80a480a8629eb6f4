package api

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

type inScene struct {
	InApp
	Name string `path:"name" maxLength:"64" doc:"1 to 64 characters of a-z 0-9 _ and -."`
}

type sceneBody struct {
	Templates []hongyan.SceneTemplate `json:"templates" minItems:"1" maxItems:"10"`
}

func (s *server) listScenes(_ context.Context, in *InApp) (items[hongyan.Scene], error) {
	scenes, err := s.l.Scenes(in.App)
	return items[hongyan.Scene]{scenes}, err
}

func (s *server) getScene(_ context.Context, in *inScene) (hongyan.Scene, error) {
	return s.l.Scene(in.App, in.Name)
}

func (s *server) setScene(ctx context.Context, in *inScene, b *sceneBody) (hongyan.Scene, error) {
	return s.l.SetScene(ctx, in.App, hongyan.Scene{Name: in.Name, Templates: b.Templates})
}

func (s *server) deleteScene(ctx context.Context, in *inScene) error {
	return s.l.DeleteScene(ctx, in.App, in.Name)
}
