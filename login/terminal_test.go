package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// askHelper is what the test binary does on a terminal of its own: it asks, and says what it got. It reports
// whether it was asked to.
func askHelper() bool {
	question := os.Getenv("CULVERT_TEST_ASK")
	if question == "" {
		return false
	}
	ctx := context.Background()
	if os.Getenv("CULVERT_TEST_CANCEL") != "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
	}
	answer, err := Asker{}.Ask(ctx, question, os.Getenv("CULVERT_TEST_ECHO") != "")
	fmt.Printf("%q %v", answer, err)
	return true
}

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	raw, err := screen.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var ioErr error
	if err := raw.Control(func(fd uintptr) {
		ioErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		if ioErr == nil {
			n, ioErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil || ioErr != nil {
		t.Fatal(err, ioErr)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return screen, tty
}

func mode(t *testing.T, tty *os.File) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

func TestAskOnTheTerminal(t *testing.T) {
	for name, test := range map[string]struct {
		env   []string
		typed string
		want  string // the answer and the error
		shown bool
	}{
		"without echo":      {typed: "s3cret\r", want: `"s3cret" <nil>`},
		"with echo":         {env: []string{"CULVERT_TEST_ECHO=1"}, typed: "s3cret\r", want: `"s3cret" <nil>`, shown: true},
		"with a correction": {typed: "s3cretX\x7f\r", want: `"s3cret" <nil>`},
		"interrupted":       {typed: "s3cret\x03", want: `"" interrupted`},
		"ended":             {typed: "\x04", want: `"" interrupted`},
		"given up":          {env: []string{"CULVERT_TEST_CANCEL=1"}, want: `"" context deadline exceeded`},
	} {
		t.Run(name, func(t *testing.T) {
			screen, tty := openTerminal(t)
			before := mode(t, tty)
			var got bytes.Buffer
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(test.env, "CULVERT_TEST_ASK=Two lines,\nand the password: ")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, &got, &got
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// Only a terminal that was prepared may hear the answer.
			_ = screen.SetReadDeadline(time.Now().Add(patience))
			seen := readUntil(t, screen, "password: ")
			if _, err := io.WriteString(screen, test.typed); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil || got.String() != test.want {
				t.Errorf("got %q, %v; want %q", got.String(), err, test.want)
			}
			if after := mode(t, tty); after != before {
				t.Errorf("the terminal's mode is %+v, and was %+v", after, before)
			}
			_ = tty.Close()
			rest, _ := io.ReadAll(screen) // EIO is how a terminal ends
			if shown := strings.Contains(seen+string(rest), "s3cret"); shown != test.shown {
				t.Errorf("the screen shows %q; the answer in it: %v, want %v", seen+string(rest), shown, test.shown)
			}
			if !strings.HasPrefix(seen, "Two lines,\r\n") {
				t.Errorf("the screen shows %q, want the question in lines", seen)
			}
		})
	}
}

func readUntil(t *testing.T, r io.Reader, want string) string {
	t.Helper()
	var seen []byte
	buf := make([]byte, 1)
	for !strings.HasSuffix(string(seen), want) {
		if _, err := r.Read(buf); err != nil {
			t.Fatalf("got %q, want %q: %v", seen, want, err)
		}
		seen = append(seen, buf...)
	}
	return string(seen)
}

func TestWhoIsAsked(t *testing.T) {
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		_ = tty.Close()
		t.Skip("this test is for a machine without a terminal, and here is one")
	}
	program := t.TempDir() + "/askpass"
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$1!\"\necho more\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		asker Asker
		asked bool
	}{
		"a screen":              {Asker{Askpass: program, Display: true}, true},
		"no screen":             {Asker{Askpass: program}, false},
		"no screen, but forced": {Asker{Askpass: program, Require: "force"}, true},
		"a screen, but never":   {Asker{Askpass: program, Display: true, Require: "never"}, false},
		"preferred":             {Asker{Askpass: program, Display: true, Require: "prefer"}, true},
		"no program":            {Asker{Display: true, Require: "force"}, false},
	} {
		answer, err := test.asker.Ask(context.Background(), "who", true)
		if test.asked && (answer != "who!" || err != nil) || !test.asked && !errors.Is(err, errNobodyToAsk) {
			t.Errorf("%s: got %q, %v; want an answer: %v", name, answer, err, test.asked)
		}
	}
}
