package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	os.Exit(mainCode())
}

// heapGrowth is by how many percent the heap may grow between collections, unless GOGC says it. Go's 100 would let the
// targets of a million points, 256 MB, take twice that; and what is large here are arrays of numbers, which the
// collector need not look through, so that to collect more often costs next to nothing.
const heapGrowth = 25

// mainCode runs the command line of this process under its signals: the first SIGINT or SIGTERM asks the command to
// stop, which saves what is to be saved; the second one does not wait.
func mainCode() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
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
