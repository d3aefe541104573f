package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

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

var saidHead = regexp.MustCompile(`msg="audit log" at=stop lines=\d+ head=([0-9a-f]{64})`)

// head puts the head of the audit log that a log noted at the end into $HEAD: head log.
func head(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: head log")
	}
	text, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	m := saidHead.FindSubmatch(text)
	if m == nil {
		ts.Fatalf("%s has no head of the audit log", args[0])
	}
	ts.Setenv("HEAD", string(m[1]))
}

// smallDisk mounts a file system of 64 KiB until the script ends: smalldisk directory.
func smallDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: smalldisk directory")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.Mkdir(dir, 0o700))
	ts.Check(mountSmall(dir))
	ts.Defer(func() { ts.Check(syscall.Unmount(dir, syscall.MNT_DETACH)) })
}

func mountSmall(dir string) error {
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// condition answers [mount]: may this user mount a file system?
func condition(cond string) (bool, error) {
	if cond != "mount" {
		return false, fmt.Errorf("unknown condition %q", cond)
	}
	dir, err := os.MkdirTemp("", "culvertd-mount-")
	if err != nil {
		return false, err
	}
	defer os.Remove(dir)
	if mountSmall(dir) != nil {
		return false, nil
	}
	return true, syscall.Unmount(dir, syscall.MNT_DETACH)
}

// fill fills a file system up with the file "rest": fill directory.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fill directory")
	}
	f, err := os.Create(filepath.Join(ts.MkAbs(args[0]), "rest"))
	ts.Check(err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 256))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		ts.Fatalf("%v", err)
	}
}

func TestTimesOfTheAuditFilter(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 25, 14, 0, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"":                     {},
		"2h30m":                now.Add(-150 * time.Minute),
		"2026-11-24":           time.Date(2026, 11, 24, 0, 0, 0, 0, zone),
		"2026-11-24 08:15":     time.Date(2026, 11, 24, 8, 15, 0, 0, zone),
		"2026-11-24T08:15:03":  time.Date(2026, 11, 24, 8, 15, 3, 0, zone),
		"2026-11-24T08:15:00Z": time.Date(2026, 11, 24, 8, 15, 0, 0, time.UTC),
	} {
		if got, err := parseWhen(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "14:00", "24.11.2026"} {
		if got, err := parseWhen(text, now); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestClientsOfTheAuditFilter(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "192.0.2.0/24": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8::/32": "2001:db8::/32",
	} {
		if got, err := parseNetwork(text); err != nil || got.String() != want {
			t.Errorf("%q: got %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"host.corp", "192.0.2.7:22", "192.0.2.0/33"} {
		if got, err := parseNetwork(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
