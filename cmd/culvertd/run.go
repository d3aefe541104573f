package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/culvert-ssh/culvert/admin"
	"github.com/culvert-ssh/culvert/auth"
)

// program is what culvertd knows of the world.
type program struct {
	stdin          *os.File
	stdout, stderr io.Writer
}

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// noAnswer is why a command that answers yes or no by its exit code answers neither.
type noAnswer struct{ error }

func (e *noAnswer) Unwrap() error { return e.error }

// errAtOnce says that a second signal came.
var errAtOnce = errors.New("ended at once by a second signal")

// run runs one command and returns its exit code.
func run(args []string, p program) int {
	err := p.dispatch(args)
	var (
		usage *usageError
		none  *noAnswer
	)
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return 0
	case errors.As(err, &none):
		fmt.Fprintf(p.stderr, "culvertd: %v\n", err)
		if errors.As(err, &usage) {
			fmt.Fprint(p.stderr, synopsisOf(args...).usage())
		}
		return 2
	case errors.As(err, &usage):
		fmt.Fprintf(p.stderr, "culvertd: %v\n%s", err, synopsisOf(args...).usage())
		return 1
	case errors.Is(err, errBroken), errors.Is(err, errDenied):
		return 1
	case errors.Is(err, auth.ErrNoSuchUser), errors.Is(err, admin.ErrNotFound):
		fmt.Fprintf(p.stderr, "culvertd: %v\n", err)
		return 1
	default:
		fmt.Fprintf(p.stderr, "culvertd: %v\n", err)
		return 255 // as sshd
	}
}

func (p program) dispatch(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "audit":
			return p.audit(args[1:])
		case "ctl":
			return p.ctl(args[1:])
		case "explain":
			return p.explain(args[1:])
		case "keygen":
			return p.keygen(args[1:])
		case "passwd":
			return p.passwd(args[1:])
		}
	}
	o, err := p.parseOptions(args)
	if err != nil {
		return err
	}
	if o.version {
		_, err := fmt.Fprintf(p.stdout, "culvertd %s\n", version)
		return err
	}
	if o.effective {
		return p.effective(o)
	}
	if o.test {
		return p.test(o)
	}
	// A log that nobody reads any more is an error of its writer's, not the end of every connection.
	signal.Ignore(syscall.SIGPIPE)
	received, stop := receive()
	defer stop()
	return p.serve(o, received)
}
