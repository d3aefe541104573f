package main

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"culvertd": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":     await,
			"conn":      conn,
			"exit":      exit,
			"listening": listening,
			"signal":    signalAll,
			"mode":      mode,
			"taken":     taken,
		},
	})
}

// patience is how long a script waits for what must happen.
const patience = 30 * time.Second

// await waits until a file has a line that a pattern matches: await file pattern.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await file pattern")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	waitFor(ts, args[0], pattern)
}

// listening waits until a log says where culvertd listens, and puts that into $PORT: listening log [address].
func listening(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: listening log [address]")
	}
	address := "127.0.0.1"
	if len(args) == 2 {
		address = args[1]
	}
	ts.Setenv("PORT", waitFor(ts, args[0], regexp.MustCompile(`msg=listening address=`+regexp.QuoteMeta(address)+`:(\d+)`))[1])
}

// waitFor waits until a file has what a pattern matches, and returns the submatches.
func waitFor(ts *testscript.TestScript, name string, pattern *regexp.Regexp) []string {
	path := ts.MkAbs(name)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			ts.Fatalf("%v", err)
		}
		if m := pattern.FindStringSubmatch(string(text)); m != nil {
			return m
		}
	}
	ts.Fatalf("%s doesn't have %q", path, pattern)
	return nil
}

// signalAll sends a signal to what runs in the background, perhaps once a file has a text in it: signal TERM [text file].
func signalAll(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt, "HUP": syscall.SIGHUP}
	if neg || len(args) != 1 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal TERM|INT|HUP")
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(signals[args[0]]))
	}
}

// mode compares the permission bits of a file: mode 600 file.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode bits file")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("mode of %s: got %s, want %s", args[1], got, args[0])
	}
}

// taken listens on a free port until the script ends, and puts it into $TAKEN.
func taken(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	ts.Setenv("TAKEN", port)
}
