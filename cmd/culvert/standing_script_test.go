package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/culvert-ssh/culvert/standing"
)

// expand FROM TO copies a file with the variables of the environment in it.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	to := ts.MkAbs(args[1])
	check(ts, os.MkdirAll(filepath.Dir(to), 0o700))
	check(ts, os.WriteFile(to, []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}

// tunnel program args... runs a program that goes to the background, and puts the port that it tells into $PORT. What it has brought up is
// down when the script has ended.
func tunnel(ts *testscript.TestScript, _ bool, args []string) {
	home, env := ts.Getenv("HOME"), ts.Getenv
	ts.Defer(func() {
		place, err := standing.Find(home, env)
		check(ts, err)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, _ = place.Call(ctx, standing.Request{Down: &standing.Down{All: true}}, standing.Person{}) // or there is none any more
	})
	check(ts, ts.Exec(args[0], args[1:]...))
	m := readyLine.FindStringSubmatch(ts.ReadFile("stderr"))
	if m == nil {
		ts.Fatalf("it doesn't say where it is")
	}
	ts.Setenv("PORT", m[1])
}
