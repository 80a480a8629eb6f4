package cli

import (
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

// apiFlags say which server a command asks, and how it prints the answer.
type apiFlags struct {
	API        string `name:"api" default:"http://127.0.0.1:8420" help:"URL of the server."`
	APIKeyFile string `name:"api-key-file" type:"path" placeholder:"FILE" help:"File with the API key, unless HONGYAN_API_KEY has it."`
	outputFlags
}

// connect makes the client; it does not call yet.
func (f *apiFlags) connect(p *program) (*client.Client, error) {
	env := "HONGYAN_API_KEY"
	if p.given("api-key-file") {
		env = "" // a flag wins over the environment
	}
	key, err := p.source.Secret(env, f.APIKeyFile)
	if err != nil {
		return nil, &fault{exit: exitUsage, text: err.Error()}
	}
	if key == "" {
		return nil, &fault{exit: exitForbidden, text: p.say("no API key"),
			hint: p.say("Set HONGYAN_API_KEY, or name a file with --api-key-file; `hongyan serve` leaves the first key in owner.key of its data directory.")}
	}
	// Somebody waits at the prompt, so a failure is told at once.
	c, err := client.New(client.Config{BaseURL: f.API, APIKey: key, UserAgent: "hongyan/" + version(), Lang: p.lang, Retries: -1})
	if err != nil {
		return nil, p.usage(strings.TrimPrefix(err.Error(), "client: "), "")
	}
	return c, nil
}

// appFlag names the app of a command.
type appFlag struct {
	App hongyan.AppID `name:"app" required:"" placeholder:"APPID" help:"The mini program's AppID."`
}

// limitFlag bounds a list.
type limitFlag struct {
	Limit int `name:"limit" own:"" default:"50" help:"Most items to print; 0 prints all."`
}

// take collects a list up to the limit and says when more is there.
func take[T any](p *program, limit int, seq iter.Seq2[T, error]) ([]T, error) {
	var out []T
	for item, err := range seq {
		if err != nil {
			return nil, err
		}
		if limit > 0 && len(out) == limit {
			p.tell("There are more; use --limit to see them.")
			break
		}
		out = append(out, item)
	}
	return out, nil
}

// secret reads a secret that a command hands to the server: from a file, from the
// environment, or from standard input where nobody types.
func (p *program) secret(env, file string) (string, error) {
	if v := strings.TrimSpace(p.source.Env(env)); v != "" && file == "" {
		return v, nil
	}
	var text []byte
	var err error
	switch {
	case file != "" && file != "-":
		text, err = os.ReadFile(file)
	case file == "" && p.isTerminal():
		return "", p.usage(p.say("no secret"), p.say("Pipe it in, name a file with --secret-file, or set %s.", env))
	default:
		text, err = io.ReadAll(io.LimitReader(p.stdin, 64<<10))
	}
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// isTerminal reports whether standard input is somebody who types: waiting for them
// without a word would look like hanging.
func (p *program) isTerminal() bool {
	f, ok := p.stdin.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// given reports whether a flag stands on the command line itself.
func (p *program) given(flag string) bool {
	for _, path := range p.parsed.Path {
		if path.Flag != nil && !path.Resolved && path.Flag.Name == flag {
			return true
		}
	}
	return false
}

// pairs reads key=value arguments.
func (p *program) pairs(flag string, list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(list))
	for _, kv := range list {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, p.usage(p.say("%s: %q is not key=value", flag, kv), "")
		}
		out[k] = v
	}
	return out, nil
}
