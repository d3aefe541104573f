package e2e

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// openssh runs one of OpenSSH's clients against the bastion, with what it reads from standard input, and returns its output.
func (b *bastion) openssh(input, name string, args ...string) (string, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	port := "-P"
	if name == "ssh" {
		port = "-p"
	}
	cmd := exec.CommandContext(ctx, name, append([]string{
		"-F", "none", "-i", b.key.Path, port, strconv.Itoa(int(b.addr.Port())),
		"-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
	}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (b *bastion) login() string { return user + "@" + b.addr.Addr().String() }

// chroot makes a directory for user, named by the user, and returns it with the line for it.
func chroot(t *testing.T) (dir, line string) {
	t.Helper()
	top := t.TempDir()
	dir = filepath.Join(top, user)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, "ChrootDirectory " + top + "/%u"
}

func TestSFTPAndSCP(t *testing.T) {
	dir, line := chroot(t)
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "Subsystem sftp internal-sftp", line)
	content := make([]byte, 5<<20)
	random := rand.NewChaCha8([32]byte{})
	random.Read(content)
	local := filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(local, content, 0o640); err != nil {
		t.Fatal(err)
	}
	same := func(path string) {
		t.Helper()
		if got, err := os.ReadFile(path); !bytes.Equal(got, content) || err != nil {
			t.Errorf("%s has %d bytes, %v; want %d of its own", path, len(got), err, len(content))
		}
	}
	out, err := b.openssh(strings.Join([]string{
		"pwd", "mkdir d", "put -p " + local + " d/up", "rename d/up d/moved", "symlink moved d/link", "ln d/moved hard",
		"chmod 600 d/moved", "ls -l d", "get d/link " + local + ".down", "rm hard", "mkdir empty", "rmdir empty",
		"-ls ../../../etc", "-get /etc/passwd",
	}, "\n"), "sftp", "-b", "-", b.login())
	if err != nil || !strings.Contains(out, "Remote working directory: /\n") || !strings.Contains(out, "moved") {
		t.Fatalf("sftp: %v\n%s", err, out)
	}
	same(filepath.Join(dir, "d/moved"))
	same(local + ".down")
	if strings.Contains(out, "root") && strings.Contains(out, "shadow") {
		t.Errorf("sftp shows what is outside:\n%s", out)
	}
	if out, err := b.openssh("", "scp", "-p", local, b.login()+":d/scp"); err != nil {
		t.Fatalf("scp up: %v\n%s", err, out)
	}
	same(filepath.Join(dir, "d/scp"))
	if info, err := os.Stat(filepath.Join(dir, "d/scp")); err != nil || info.Mode() != 0o640 {
		t.Errorf("scp -p made %v, %v", info, err)
	}
	if out, err := b.openssh("", "scp", "-r", b.login()+":d", filepath.Join(filepath.Dir(local), "tree")); err != nil {
		t.Fatalf("scp -r down: %v\n%s", err, out)
	}
	same(filepath.Join(filepath.Dir(local), "tree/scp"))
	b.await(`"event":"sftp.closed".*"path":"/d/scp".*"up":5242880`)

	if out, err := b.openssh("", "scp", "-O", local, b.login()+":legacy"); err == nil || !strings.Contains(out, "runs no commands") {
		t.Errorf("scp with the old protocol: %v\n%s", err, out)
	}
}

func TestForcedSFTPWithSSH(t *testing.T) {
	_, line := chroot(t)
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "ForceCommand internal-sftp", line)
	if out, err := b.openssh("mkdir made\nls\n", "sftp", "-b", "-", b.login()); err != nil || !strings.Contains(out, "made") {
		t.Errorf("sftp: %v\n%s", err, out)
	}
}

func TestSFTPWithoutADirectorySaysWhy(t *testing.T) {
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "Subsystem sftp internal-sftp", "PermitTTY no")
	if out, err := b.openssh("ls\n", "sftp", "-b", "-", b.login()); err == nil || !strings.Contains(out, "ChrootDirectory") {
		t.Errorf("sftp: %v\n%s", err, out)
	}
	if out, err := b.openssh("", "ssh", "-tt", b.login(), "date"); !strings.Contains(out, "PTY allocation request failed") {
		t.Errorf("ssh -tt: %v\n%s", err, out)
	}
	if out, err := b.openssh("", "ssh", b.login(), "date"); err == nil || !strings.Contains(out, "runs no commands") {
		t.Errorf("ssh date: %v\n%s", err, out)
	}
}
