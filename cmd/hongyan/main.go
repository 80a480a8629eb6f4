// Command hongyan delivers WeChat Mini Program subscription messages.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/hongyan-push/hongyan/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.Main(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
