package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(mainCode())
}

// mainCode runs the command line of this process under its signals: the first SIGINT or SIGTERM asks the command to
// stop, which saves what is to be saved; the second one does not wait.
func mainCode() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		cancel(&signalled{sig: <-signals})
		sig := &signalled{sig: <-signals}
		fmt.Fprintf(os.Stderr, "\nnat: %v\n", sig)
		os.Exit(sig.exitCode())
	}()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv)
}
