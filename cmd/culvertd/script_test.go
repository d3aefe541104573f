package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
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
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":     await,
			"conn":      conn,
			"exit":      exit,
			"head":      head,
			"smalldisk": smallDisk,
			"fill":      fill,
			"listening": listening,
			"metrics":   metrics,
			"signal":    sendSignal,
			"heir":      awaitHeir,
			"gone":      gone,
			"manager":   manager,
			"reads":     reads,
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

// metrics waits until a log says where metrics are served, and puts that into $METRICS: metrics log.
func metrics(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: metrics log")
	}
	ts.Setenv("METRICS", waitFor(ts, args[0], regexp.MustCompile(`msg="serving metrics" address=127\.0\.0\.1:(\d+)`))[1])
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

// sendSignal sends a signal to a process, or to all that the script runs in the background: signal TERM [pid].
func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "USR2": syscall.SIGUSR2, "KILL": syscall.SIGKILL,
	}
	if neg || len(args) < 1 || len(args) > 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal TERM|INT|HUP|USR2|KILL [pid]")
	}
	if len(args) == 2 {
		pid, err := strconv.Atoi(args[1])
		ts.Check(err)
		ts.Check(syscall.Kill(pid, signals[args[0]]))
		return
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(signals[args[0]]))
	}
}

// awaitHeir waits until a log says that another process is started for the nth time, and puts its number into $HEIR. It is killed with the script if it lives
// that long: heir log [n].
func awaitHeir(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: heir log [n]")
	}
	n := 1
	if len(args) == 2 {
		var err error
		n, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	pattern := regexp.MustCompile(fmt.Sprintf(`(?s)(?:starting the process that takes over" pid=(\d+).*?){%d}`, n))
	pid, err := strconv.Atoi(waitFor(ts, args[0], pattern)[1])
	ts.Check(err)
	ts.Setenv("HEIR", strconv.Itoa(pid))
	ts.Defer(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
}

// gone waits until a process has ended: gone pid.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone pid")
	}
	pid, err := strconv.Atoi(args[0])
	ts.Check(err)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(status), ") Z ") {
			return
		}
	}
	ts.Fatalf("process %d lives on", pid)
}

// reads waits until somebody reads from a FIFO, who then waits for what comes until the script ends: reads fifo.
func reads(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: reads fifo")
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			ts.Defer(func() { _ = f.Close() })
			return
		}
		if !errors.Is(err, syscall.ENXIO) {
			ts.Fatalf("%v", err)
		}
	}
	ts.Fatalf("nobody reads from %s", args[0])
}

// manager stands in for systemd: it appends what it is told by sd_notify(3) to a file, a message a line, with spaces for line ends: manager file.
func manager(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: manager file")
	}
	file, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	path := ts.MkAbs(args[0] + ".socket")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	ts.Check(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		message := make([]byte, 4096)
		for {
			n, err := socket.Read(message)
			if err != nil {
				return
			}
			fmt.Fprintln(file, strings.ReplaceAll(string(message[:n]), "\n", " "))
		}
	}()
	ts.Defer(func() {
		_ = socket.Close()
		<-done
		_ = file.Close()
	})
	ts.Setenv("NOTIFY_SOCKET", path)
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
