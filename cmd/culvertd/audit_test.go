package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// exit runs a program that must end with an exit code: exit code program argument ....
func exit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit code program argument ...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code: got %d, want %s", got, args[0])
	}
}

var refusedConn = regexp.MustCompile(`"event":"channel.refused","conn":"([^"]+)"`)

// conn puts the connection of which an audit log says that a channel was refused into $CONN: conn log.
func conn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: conn log")
	}
	text, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	m := refusedConn.FindSubmatch(text)
	if m == nil {
		ts.Fatalf("%s has no channel.refused", args[0])
	}
	ts.Setenv("CONN", string(m[1]))
}
