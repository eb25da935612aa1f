// Command tlq runs the experiments, tools and notebooks of TLQ Lab.
//
// Exit codes: 0 done; 1 failed, with one line on standard error that says what
// was received, what was expected and how to mend it; 2 wrong usage; 3 known
// but not built yet. Progress goes to standard error, results to standard
// output; the last line of a command that writes a folder is that folder's
// path. With --json standard output is one JSON value.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/tlqlab/tlqlab/harness"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotBuilt = 3
)

// interruptGrace is how long a command may take to end after an interrupt.
// Everything durable is already on disk, so there is nothing to lose.
const interruptGrace = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // a second interrupt ends the process at once
		time.Sleep(interruptGrace)
		harness.RemoveUnfinished()
		fmt.Fprintln(os.Stderr, "tlq: interrupted: run the same command again to continue")
		os.Exit(exitFailed)
	})
	os.Exit(run(ctx, os.Args[1:], &console{Out: os.Stdout, Err: os.Stderr}))
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, c *console) int {
	if len(args) == 0 {
		usage(c.Err)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return help(args[1:], c)
	}
	e, ok := find(args[0])
	if !ok {
		fmt.Fprintf(c.Err, "tlq: unknown command %q%s\n", args[0], nearestHint(args[0], names(commands)))
		usage(c.Err)
		return exitUsage
	}
	return guarded(c, func() int { return e.run(ctx, args[1:], c) })
}

// guarded turns a panic, which is a mistake of ours, into one line. With
// TLQ_DEBUG set it shows where.
func guarded(c *console, f func() int) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(c.Err, "tlq: internal error: %s\n", firstLine(fmt.Sprint(p)))
			if os.Getenv("TLQ_DEBUG") != "" {
				panic(p)
			}
			code = exitFailed
		}
	}()
	return f()
}

func help(args []string, c *console) int {
	if len(args) == 0 {
		usage(c.Out)
		return exitOK
	}
	e, ok := find(args[0])
	if !ok {
		fmt.Fprintf(c.Err, "tlq: unknown command %q%s\n", args[0], nearestHint(args[0], names(commands)))
		return exitUsage
	}
	return e.run(context.Background(), []string{"--help"}, c)
}

// run parses and executes one command.
func (e *entry) run(ctx context.Context, args []string, c *console) int {
	if e.new == nil && len(e.sub) == 0 {
		fmt.Fprintf(c.Err, "tlq: %s is known but not built yet\n", e.name)
		return exitNotBuilt
	}
	if len(e.sub) > 0 {
		return e.runSub(ctx, args, c)
	}
	cmd := e.new()
	fs := flag.NewFlagSet(e.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	cmd.Flags(fs)
	positional, err := parse(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		e.usage(c.Out, fs)
		return exitOK
	}
	if err == nil {
		err = cmd.Validate(positional)
	} else {
		err = plainly(fs, err)
	}
	if err != nil {
		fmt.Fprintf(c.Err, "tlq %s: %s\n", e.name, err)
		e.usage(c.Err, fs)
		return exitUsage
	}
	return exitCode(e.name, cmd.Run(ctx, c), c)
}

func (e *entry) runSub(ctx context.Context, args []string, c *console) int {
	if len(args) > 0 {
		for i := range e.sub {
			if e.sub[i].name == e.name+" "+args[0] {
				return e.sub[i].run(ctx, args[1:], c)
			}
		}
		if strings.TrimLeft(args[0], "-") == "help" || args[0] == "-h" {
			e.subUsage(c.Out)
			return exitOK
		}
		fmt.Fprintf(c.Err, "tlq %s: unknown command %q%s\n", e.name, args[0], nearestHint(e.name+" "+args[0], names(e.sub)))
	}
	e.subUsage(c.Err)
	return exitUsage
}

// exitCode prints a command's error as one line and says how to exit.
func exitCode(name string, err error, c *console) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(c.Err, "tlq: interrupted: run the same command again to continue")
		return exitFailed
	case errors.Is(err, errNotBuilt):
		fmt.Fprintf(c.Err, "tlq %s: %s\n", name, oneLine(err))
		return exitNotBuilt
	}
	fmt.Fprintf(c.Err, "tlq %s: %s\n", name, oneLine(err))
	return exitFailed
}
