// Package cli is the program's command line: one file a command. Data goes to standard
// output and talk to standard error; a failure says what to do next and ends with the exit
// code that docs/errors.md lists.
//
// Commands that ask or change a server talk to it through package client, as users'
// programs do. Start: [Main], with everything the process was given.
package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"github.com/hongyan-push/hongyan/internal/config"
)

// grammar is the whole command line.
type grammar struct {
	Demo    demoCmd    `cmd:"" help:"Run server and sandbox with sample data; nothing to configure."`
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Sandbox sandboxCmd `cmd:"" help:"Run a local WeChat for tests."`

	Apps      appsCmd      `cmd:"" help:"Mini programs that the server sends for."`
	Templates templatesCmd `cmd:"" help:"Message templates of an app."`
	Users     usersCmd     `cmd:"" help:"Users of an app."`
	Scenes    scenesCmd    `cmd:"" help:"What the mini program asks for, and when."`
	Grants    grantsCmd    `cmd:"" help:"Subscriptions and the grants they hold."`
	Send      sendCmd      `cmd:"" help:"Send a message."`
	Messages  messagesCmd  `cmd:"" help:"Messages and what became of them."`
	Stats     statsCmd     `cmd:"" help:"How many messages came to what, and what became of grants."`
	Webhooks  webhooksCmd  `cmd:"" help:"Addresses of yours to which events are posted."`
	Callbacks callbacksCmd `cmd:"" help:"What WeChat pushes to the server (消息推送)."`
	Token     tokenCmd     `cmd:"" help:"Access tokens of an app."`
	Keys      keysCmd      `cmd:"" help:"API keys."`
	Members   membersCmd   `cmd:"" help:"People who sign in to the console."`
	Audit     auditCmd     `cmd:"" help:"List what people and keys changed, newest first."`

	Errcode  errcodeCmd  `cmd:"" help:"Explain an errcode of WeChat's."`
	Config   configCmd   `cmd:"" help:"Settings of the server."`
	Migrate  migrateCmd  `cmd:"" help:"Bring the database's schema up to date."`
	Generate generateCmd `cmd:"" help:"Types for your program, so that a wrong field does not compile."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	benchCmds
}

// program is what every command has at hand.
type program struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	source *config.Source
	lang   string // "zh" or "en"
	now    func() time.Time
	parsed *kong.Context
	twins  map[*kong.Flag]string // environment variables by flag
}

// Main runs the command line and returns its exit code. ctx ends when the process should
// stop; servers then stop gracefully, and that is no failure.
func Main(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	source := config.NewSource(env)
	p := &program{
		stdin: stdin, stdout: stdout, stderr: stderr, source: source,
		lang: languageOf(source), now: time.Now,
	}
	return p.finish(ctx, p.run(ctx, args))
}

// errReported is a failure that was already told.
type errReported int

func (e errReported) Error() string { return "exit code " + strconv.Itoa(int(e)) }

func (p *program) run(ctx context.Context, args []string) error {
	var g grammar
	exited := false
	helpTo := p.stdout
	if len(args) == 0 {
		args, helpTo = []string{"--help"}, p.stderr
	}
	parser, err := kong.New(&g,
		kong.Name("hongyan"),
		kong.Description(p.say("Hongyan delivers WeChat Mini Program subscription messages.")),
		kong.Writers(helpTo, p.stderr),
		kong.Exit(func(int) { exited = true }), // Parse goes on; what it then misses does not matter
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.ValueFormatter(p.flagHelp),
		kong.PostBuild(p.translateHelp),
		kong.PostBuild(p.nameTwins),
		kong.WithHyphenPrefixedParameters(true), // --delta -1
		kong.Resolvers(&resolver{p: p}),
	)
	if err != nil {
		return fmt.Errorf("command line: %w", err)
	}
	p.parsed, err = parser.Parse(guardArgs(parser, args))
	switch {
	case exited && helpTo == p.stderr:
		return errReported(exitUsage)
	case exited:
		return nil
	case err != nil:
		return err
	}
	unguard(p.parsed)
	p.parsed.BindTo(ctx, (*context.Context)(nil))
	return p.parsed.Run(p)
}

// logFlags say what a command that keeps running logs.
type logFlags struct {
	LogLevel  string `name:"log-level" enum:"debug,info,warn,error" default:"info" help:"Least level that is logged: debug, info, warn, error."`
	LogFormat string `name:"log-format" enum:"text,json" default:"text" help:"text or json, on standard error."`
}

// logger writes to standard error. kong has checked the values.
func (p *program) logger(level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level))
	opt := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, opt))
	}
	return slog.New(slog.NewTextHandler(p.stderr, opt))
}
