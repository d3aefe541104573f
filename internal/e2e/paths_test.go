package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// guarded is a tree on an FTP server of which /secret and /home/*/private are denied, and a way there.
type guarded struct {
	*tunnel
	root, log string
}

// guard makes a tree, and opens a path to it. The servers show the whole path of the root.
func guard(t *testing.T, kind peers.FTPServer, lines func(root string) []string) *guarded {
	t.Helper()
	g := &guarded{root: t.TempDir(), log: filepath.Join(t.TempDir(), "audit.jsonl")}
	for _, name := range []string{"pub/a", "pub/deep/b", "secret/key", "secret/deep/key", "home/joe/private/key", "home/joe/c"} {
		at := filepath.Join(g.root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := peers.TestFTP(t, kind, peers.FTPConfig{Root: g.root})
	g.tunnel = culvertCulvertd.open(t, server, nil, nil, append(lines(g.root), "AuditLog "+g.log)...)
	return g
}

func denials(root string) []string {
	return []string{"FTPDeny " + root + "/secret", "FTPDeny " + root + "/home/*/private"}
}

// has reports whether a file is there with the text.
func (g *guarded) has(name, text string) bool {
	got, err := os.ReadFile(filepath.Join(g.root, name))
	return err == nil && string(got) == text
}

var refusalNumber = regexp.MustCompile(`number (\d+-\d+\.\d+)`)

// onRecord wants the number that a client was told to be in the audit log, with what it is about.
func (g *guarded) onRecord(t *testing.T, said, command, resolved, reason string) {
	t.Helper()
	number := refusalNumber.FindStringSubmatch(said)
	if number == nil {
		t.Errorf("the client was told no number: %s", said)
		return
	}
	log, err := os.ReadFile(g.log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		var e struct{ Event, Command, Number, Resolved, Rule, Reason string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Number != number[1] {
			continue
		}
		if e.Event != "ftp.command" || e.Command != command || e.Resolved != g.root+resolved ||
			!regexp.MustCompile(`sshd_config:\d+$`).MatchString(e.Rule) || !strings.HasPrefix(e.Reason, reason) {
			t.Errorf("number %s: got %+v, want %s of %s by %s", number[1], e, command, g.root+resolved, reason)
		}
		return
	}
	t.Errorf("number %s is not in the audit log", number[1])
}

// TestDeniedPathsWithRealPrograms is each server with the clients whose ways differ: curl changes the directory step by
// step, lftp to whole paths, and ncftp names files by what it has found out.
func TestDeniedPathsWithRealPrograms(t *testing.T) {
	for _, kind := range peers.FTPServers() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			g := guard(t, kind, denials)
			for _, client := range []peers.FTPClient{peers.Curl, peers.LFTP, peers.NcFTP} {
				t.Run(string(client), func(t *testing.T) { g.downAndUp(t, client) })
			}
			t.Run("the rest with lftp", g.withLFTP)
		})
	}
}

func (g *guarded) downAndUp(t *testing.T, c peers.FTPClient) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	local := t.TempDir()
	for _, f := range []struct {
		remote string
		denied bool
	}{{"pub/deep/b", false}, {"secret/key", true}, {"home/joe/private/key", true}, {"home/joe/c", false}} {
		to := filepath.Join(local, "down")
		out, err := c.Download(ctx, g.target, f.remote, to)
		got, _ := os.ReadFile(to)
		if denied := err != nil; denied != f.denied || (string(got) == f.remote) == f.denied {
			t.Errorf("download of %s: got %v, %q, want it denied: %v\n%s", f.remote, err, got, f.denied, out)
		}
		os.Remove(to)
	}
	from := filepath.Join(local, "up")
	if err := os.WriteFile(from, []byte("up"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Upload(ctx, g.target, from, "pub/up-"+string(c)); err != nil || !g.has("pub/up-"+string(c), "up") {
		t.Errorf("upload: %v\n%s", err, out)
	}
	if out, err := c.Upload(ctx, g.target, from, "secret/up"); err == nil || g.has("secret/up", "up") {
		t.Errorf("upload to a denied directory: %v\n%s", err, out)
	}
	if out, err := c.List(ctx, g.target, "pub/deep"); err != nil || !strings.Contains(out, "b") {
		t.Errorf("list: %v\n%s", err, out)
	}
	if out, err := c.List(ctx, g.target, "secret/deep"); err == nil || strings.Contains(out, "key") {
		t.Errorf("list of a denied directory: %v\n%s", err, out)
	}
}

func (g *guarded) withLFTP(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	for _, tt := range []struct{ line, command, resolved string }{
		{"mv pub/a secret/a", "RNTO", "/secret/a"},
		{"mv secret/key pub/key", "RNFR", "/secret/key"},
		{"mv home/joe pub/joe", "RNTO", "/pub/joe"}, // with what is private in it
		{"rm secret/key", "DELE", "/secret/key"},
		{"cd secret", "CWD", "/secret"},
		{"mkdir secret/new", "MKD", "/secret/new"},
		{"quote SIZE " + g.root + "/Secret/key", "SIZE", "/Secret/key"},
	} {
		out, err := g.target.LFTP(ctx, "debug 3", tt.line)
		if !strings.Contains(out+fmt.Sprint(err), "550 Permission denied here") {
			t.Errorf("%s: got %v, want it refused\n%s", tt.line, err, out)
			continue
		}
		g.onRecord(t, out+fmt.Sprint(err), tt.command, tt.resolved, "FTPDeny "+g.root)
	}
	if out, err := g.target.LFTP(ctx, "cd pub", "mv a a2", "mv a2 deep/a3", "rm deep/a3", "mkdir new", "cd ..", "cd home/joe", "mv c d"); err != nil {
		t.Errorf("what is permitted: %v\n%s", err, out)
	}
	if !g.has("home/joe/d", "home/joe/c") || g.has("pub/a", "pub/a") || g.has("pub/deep/a3", "pub/a") || !g.has("home/joe/private/key", "home/joe/private/key") {
		t.Error("the tree is not what lftp made of it")
	}
	local := t.TempDir()
	out, err := g.target.LFTP(ctx, "mirror . "+local)
	var got []string
	filepath.Walk(local, func(at string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			got = append(got, strings.TrimPrefix(at, local+"/"))
		}
		return nil
	})
	found := strings.Join(got, " ")
	if err == nil || strings.Contains(found, "key") || !strings.Contains(found, "pub/deep/b") || !strings.Contains(found, "home/joe/d") {
		t.Errorf("mirror: got %q, %v, want all but what is denied\n%s", found, err, out)
	}
}

// TestAllowedPathsWithRealPrograms is FTPAllow, where the way to what is allowed must be open.
func TestAllowedPathsWithRealPrograms(t *testing.T) {
	for _, kind := range peers.FTPServers() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			g := guard(t, kind, func(root string) []string { return []string{"FTPAllow " + root + "/pub/deep " + root + "/home/*/in"} })
			for _, client := range []peers.FTPClient{peers.Curl, peers.LFTP, peers.NcFTP} {
				ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
				defer cancel()
				to := filepath.Join(t.TempDir(), "down")
				if out, err := client.Download(ctx, g.target, "pub/deep/b", to); err != nil {
					t.Errorf("%s: download of what is allowed: %v\n%s", client, err, out)
				}
				os.Remove(to)
				if out, err := client.Download(ctx, g.target, "pub/a", to); err == nil {
					t.Errorf("%s: download of what isn't: got nil\n%s", client, out)
				}
				if out, err := client.List(ctx, g.target, "pub"); err == nil || strings.Contains(out, "deep\n") {
					t.Errorf("%s: list of the way: %v\n%s", client, err, out)
				}
			}
		})
	}
}
