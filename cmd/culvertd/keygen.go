package main

import (
	"fmt"
	"os"

	"github.com/culvert-ssh/culvert/hostkeys"
)

// keygen makes host keys: culvertd keygen directory.
func (p program) keygen(args []string) error {
	f := newFlags("keygen")
	if err := p.parse(f, args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return &usageError{"keygen wants a directory"}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost" // it is no more than a comment
	}
	keys, err := hostkeys.Generate(f.Arg(0), "culvertd@"+host)
	for _, k := range keys {
		done := "made"
		if k.Kept {
			done = "kept"
		}
		if _, err := fmt.Fprintf(p.stdout, "%s %s %s %s\n", done, k.Path, k.Type, k.Fingerprint); err != nil {
			return err
		}
	}
	return err
}
