package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// aborter is an FTP client whose user changes their mind in the middle of a transfer, and goes on in the same session. Each sends its ABOR as
// urgent data, in a form of its own.
type aborter struct {
	name  string
	start func(t peers.Target) []string // the program and its arguments
	setUp func(t peers.Target) []string // what is typed first; if nil, nothing
	begin func(verb, remote, local string) string

	// abort aborts the transfer, which stands still until goOn is called, and returns when the client is ready for more.
	abort func(ctx context.Context, c *peers.Console, goOn func()) error
	get   func(remote, local string) string // after which the console shows "usable"

	// with are the servers after whose answers to ABOR the client finds its way, by itself and without a tunnel.
	with map[string][]peers.FTPServer
}

// ftplibAborts is a program with Python's ftplib, whose abort sends the whole line as urgent data.
const ftplibAborts = `
import ftplib, sys
host, port, user, password = sys.argv[1:]
ftp = ftplib.FTP(timeout=20)
ftp.connect(host, int(port))
ftp.login(user, password)
ftp.voidcmd("TYPE I")
for line in sys.stdin:
    verb, *args = line.split()
    if verb == "begin-get":
        data = ftp.transfercmd("RETR " + args[0])
        data.settimeout(1)
        try:
            while data.recv(65536):
                pass
        except TimeoutError:
            pass
    elif verb == "begin-put":
        data = ftp.transfercmd("STOR " + args[0])
        data.settimeout(1)
        try:
            with open(args[1], "rb") as f:
                data.sendall(f.read())
        except TimeoutError:
            pass
    elif verb == "abort":
        data.close()
        print("abort:", ftp.abort())
        ftp.putcmd("PWD")
        while not ftp.getmultiline().startswith("257"):
            pass
        print("heard", flush=True)
    else:
        with open(args[1], "wb") as f:
            ftp.retrbinary("RETR " + args[0], f.write)
        print("usable", flush=True)
`

var aborters = []aborter{
	{
		name:  "ftplib",
		start: func(t peers.Target) []string { return append([]string{"python3", "-c", ftplibAborts}, words(t)...) },
		begin: func(verb, remote, local string) string { return "begin-" + verb + " " + remote + " " + local },
		abort: func(ctx context.Context, c *peers.Console, goOn func()) error {
			c.Type("abort")
			goOn() // it has stopped reading and writing
			return c.Await(ctx, "heard")
		},
		get:  func(remote, local string) string { return "get " + remote + " " + local },
		with: map[string][]peers.FTPServer{"get": peers.FTPServers(), "put": peers.FTPServers()},
	},
	{
		name:  "lftp",
		start: func(peers.Target) []string { return []string{"lftp", "--norc"} },
		setUp: func(t peers.Target) []string {
			return []string{
				"set net:max-retries 1", "set net:timeout 20", "set ftp:passive-mode true", "set ftp:use-abor true", "set xfer:clobber true",
				"open -u " + t.User + "," + t.Password + " ftp://" + t.Addr.String(),
			}
		},
		begin: func(verb, remote, local string) string {
			if verb == "put" {
				return "put " + local + " -o " + remote + " &"
			}
			return "get " + remote + " -o " + local + " &"
		},
		abort: func(ctx context.Context, c *peers.Console, goOn func()) error {
			c.Type("kill all; echo killed")
			err := c.Await(ctx, "killed")
			goOn()
			return err
		},
		get:  func(remote, local string) string { return "get " + remote + " -o " + local + " && echo usable" },
		with: map[string][]peers.FTPServer{"get": {peers.ProFTPD}, "put": {peers.ProFTPD}},
	},
	{
		name: "ncftp",
		start: func(t peers.Target) []string {
			w := words(t)
			return []string{"ncftp3", "-u", w[2], "-p", w[3], "-P", w[1], w[0]}
		},
		begin: func(verb, remote, local string) string {
			if verb == "put" {
				return "put -z " + local + " " + remote
			}
			return "get -z " + remote + " " + local
		},
		abort: func(ctx context.Context, c *peers.Console, goOn func()) error {
			c.Interrupt()
			goOn()
			return nil
		},
		get:  func(remote, local string) string { return "get -z " + remote + " " + local + "\n!echo usable" },
		with: map[string][]peers.FTPServer{"get": peers.FTPServers(), "put": {peers.PureFTPD}},
	},
}

// words are the host, the port, the user and the password.
func words(t peers.Target) []string {
	return []string{t.Addr.Addr().String(), strconv.Itoa(int(t.Addr.Port())), t.User, t.Password}
}

// TestABORLeavesTheSessionUsable aborts downloads and uploads in their middle, and wants the same session to transfer a
// file, whole, afterwards.
func TestABORLeavesTheSessionUsable(t *testing.T) {
	t.Parallel()
	for i, a := range aborters {
		for j, verb := range []string{"get", "put"} {
			for k, p := range []path{alternately(i + j), culvertSSHD} {
				kind := a.with[verb][(j+k)%len(a.with[verb])]
				t.Run(fmt.Sprintf("%s/%s/%s/%s", a.name, verb, p, kind), func(t *testing.T) {
					t.Parallel()
					a.changesMind(t, verb, p, kind)
				})
			}
		}
	}
}

func (a *aborter) changesMind(t *testing.T, verb string, p path, kind peers.FTPServer) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	x := begin(t, p, kind, newGate(middle, verb == "put"))
	local := t.TempDir()
	for _, name := range []string{filepath.Join(x.server.Root, "big"), filepath.Join(local, "big")} {
		if err := errors.Join(os.WriteFile(name, nil, 0o644), os.Truncate(name, big)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(x.server.Root, "byte"), []byte{0xff}, 0o644); err != nil {
		t.Fatal(err)
	}
	start := a.start(x.target)
	c, err := peers.StartConsole(ctx, start[0], start[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer x.wire.cut()
	if a.setUp != nil {
		for _, line := range a.setUp(x.target) {
			c.Type(line)
		}
	}
	if verb == "put" {
		c.Type(a.begin(verb, "up", filepath.Join(local, "big")))
	} else {
		c.Type(a.begin(verb, "big", filepath.Join(local, "down")))
	}
	select {
	case <-x.wire.reached:
	case <-ctx.Done():
		t.Fatalf("the transfer doesn't come to its middle:\n%s", c.Said())
	}
	if err := a.abort(ctx, c, x.wire.release); err != nil {
		t.Fatal(err)
	}
	c.Type(a.get("byte", filepath.Join(local, "byte")))
	if err := c.Await(ctx, "usable"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(local, "byte")); err != nil || string(got) != "\xff" {
		t.Errorf("after the ABOR the client got %q, %v, want one byte; it said:\n%s", got, err, c.Said())
	}
	if n := len(regexp.MustCompile(`(?m)^220 `).FindAllString(x.control.said.String(), -1)); n != 1 {
		t.Errorf("it took %d control connections, want 1", n)
	}
	if said := x.control.said.String(); !regexp.MustCompile(`\n(426|225|226)[ -]`).MatchString(said) {
		t.Errorf("nobody answered an ABOR: %s", said)
	}
}
