package peers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestEveryClientTalksToEveryServer is what makes the matrix with culvert in between worth
// something: a failure there is then not the peers'.
func TestEveryClientTalksToEveryServer(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		for _, kind := range FTPServers() {
			server := TestFTP(t, kind, FTPConfig{Root: t.TempDir(), Addr: netip.MustParseAddr(addr)})
			for _, client := range FTPClients() {
				if server.Addr.Addr().Is6() && !client.IPv6() {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", addr, kind, client), func(t *testing.T) {
					exercise(t, client, server.Target(), server.Root)
				})
			}
		}
	}
}

func TestCurlOverSOCKSOfOpenSSH(t *testing.T) {
	key := TestKey(t, "id")
	sshd := TestSSHD(t, SSHDConfig{AuthorizedKeys: key.Authorized()})
	client := TestSSH(t, SSHConfig{Server: sshd.Addr, User: sshd.User, Identity: key.Path, Dynamic: true})
	server := TestFTP(t, VSFTPD, FTPConfig{Root: t.TempDir()})
	target := server.Target()
	target.SOCKS = client.Dynamic
	exercise(t, CurlSOCKS, target, server.Root)
}

func exercise(t *testing.T, c FTPClient, target Target, root string) {
	ctx := t.Context()
	local := t.TempDir()
	names := []string{"empty", "byte", "more"}
	contents := map[string][]byte{"empty": nil, "byte": {0xff}, "more": random(t, 1<<20)}

	remote := filepath.Join(root, "for-"+strings.ReplaceAll(string(c), " ", "-"))
	for _, dir := range []string{remote, remote + "-up"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Base(remote)
	for name, content := range contents {
		writeFile(t, filepath.Join(remote, name), content)
	}

	out, err := c.List(ctx, target, dir)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	for _, name := range names {
		if !strings.Contains(out, name) {
			t.Errorf("List: no %q in\n%s", name, out)
		}
	}
	for _, name := range names {
		if out, err := c.Download(ctx, target, dir+"/"+name, filepath.Join(local, "one")); err != nil {
			t.Fatalf("Download %s: %v", name, err)
		} else {
			wantFile(t, filepath.Join(local, "one"), contents[name], out)
		}
	}
	if out, err := c.Download(ctx, target, dir+"/absent", filepath.Join(local, "absent")); err == nil {
		t.Errorf("Download of a file that isn't there succeeded:\n%s", out)
	}
	if out, err := c.DownloadAll(ctx, target, dir, names, local); err != nil {
		t.Fatalf("DownloadAll: %v", err)
	} else {
		for _, name := range names {
			wantFile(t, filepath.Join(local, name), contents[name], out)
		}
	}

	if !c.Uploads() {
		if _, err := c.Upload(ctx, target, filepath.Join(local, "more"), "x"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Upload: got %v, want %v", err, errors.ErrUnsupported)
		}
		return
	}
	for _, name := range names {
		if out, err := c.Upload(ctx, target, filepath.Join(local, name), dir+"-up/one-"+name); err != nil {
			t.Fatalf("Upload %s: %v", name, err)
		} else {
			wantFile(t, filepath.Join(remote+"-up", "one-"+name), contents[name], out)
		}
	}
	if out, err := c.UploadAll(ctx, target, local, names, dir+"-up"); err != nil {
		t.Fatalf("UploadAll: %v", err)
	} else {
		for _, name := range names {
			wantFile(t, filepath.Join(remote+"-up", name), contents[name], out)
		}
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	for _, kind := range FTPServers() {
		server := TestFTP(t, kind, FTPConfig{Root: t.TempDir()})
		target := server.Target()
		target.Password = "wrong"
		for _, client := range FTPClients() {
			t.Run(fmt.Sprintf("%s/%s", kind, client), func(t *testing.T) {
				t.Parallel() // the servers take their time to say no
				if out, err := client.List(t.Context(), target, ""); err == nil {
					t.Errorf("logged in:\n%s", out)
				}
			})
		}
	}
}

func TestSSHDRefusesForeignKey(t *testing.T) {
	sshd := TestSSHD(t, SSHDConfig{AuthorizedKeys: TestKey(t, "known").Authorized()})
	other := TestKey(t, "other")
	_, err := StartSSH(t.Context(), SSHConfig{Server: sshd.Addr, User: sshd.User, Identity: other.Path})
	if err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("got %v, want Permission denied", err)
	}
}

func TestSSHDShowsItsHostKey(t *testing.T) {
	key := TestKey(t, "id")
	sshd := TestSSHD(t, SSHDConfig{AuthorizedKeys: key.Authorized()})
	client, err := ssh.Dial("tcp", sshd.Addr.String(), &ssh.ClientConfig{
		User: sshd.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key.Signer)},
		HostKeyCallback: ssh.FixedHostKey(sshd.HostKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
}

func TestKillEndsAllProcesses(t *testing.T) {
	for _, kind := range FTPServers() {
		server := TestFTP(t, kind, FTPConfig{Root: t.TempDir()})
		conn, err := net.Dial("tcp", server.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		greeting := make([]byte, 4)
		if _, err := conn.Read(greeting); err != nil || string(greeting[:3]) != "220" {
			t.Fatalf("%s: got %q, %v, want 220", kind, greeting, err)
		}
		server.Kill()
		for err == nil {
			_, err = conn.Read(make([]byte, 512))
		}
	}
}

func TestMissingProgramSaysWhatToDo(t *testing.T) {
	if _, err := Find("no-such-program"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v, want %v", err, ErrMissing)
	}
}

func TestClientEndsWithItsContext(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, client := range FTPClients() {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if conn, err := silent.Accept(); err == nil {
				defer conn.Close()
				cancel()
				_, _ = conn.Read(make([]byte, 1))
			}
		}()
		target := Target{Addr: silent.Addr().(*net.TCPAddr).AddrPort(), User: "u", Password: "p"}
		if _, err := client.List(ctx, target, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", client, err, context.Canceled)
		}
		cancel()
	}
}

func random(t *testing.T, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path string, want []byte, out string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("%v; the client said:\n%s", err, out)
	} else if string(got) != string(want) {
		t.Errorf("%s has %d bytes that are not the %d sent; the client said:\n%s", path, len(got), len(want), out)
	}
}

// TestResetUploadIsNotKept is what FTP's doc promises, and what the tests of broken tunnels rest on.
func TestResetUploadIsNotKept(t *testing.T) {
	for _, kind := range FTPServers() {
		server := TestFTP(t, kind, FTPConfig{Root: t.TempDir()})
		name := filepath.Join(server.Root, "file")
		control, err := textproto.Dial("tcp", server.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer control.Close()
		want := func(code int) string {
			t.Helper()
			_, text, err := control.ReadResponse(code)
			if err != nil {
				t.Fatalf("%s: want %d: %v", kind, code, err)
			}
			return text
		}
		command := func(code int, line string) string {
			t.Helper()
			if err := control.PrintfLine("%s", line); err != nil {
				t.Fatal(err)
			}
			return want(code)
		}
		want(220)
		command(331, "USER "+server.User)
		command(230, "PASS "+server.Password)
		command(200, "TYPE I")
		port := strings.Split(command(229, "EPSV"), "|")[3]
		data, err := net.Dial("tcp", net.JoinHostPort(server.Addr.Addr().String(), port))
		if err != nil {
			t.Fatal(err)
		}
		command(150, "STOR file")
		if _, err := data.Write(random(t, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(data.(*net.TCPConn).SetLinger(0), data.Close()); err != nil {
			t.Fatal(err)
		}
		if code, text, err := control.ReadResponse(4); err != nil {
			t.Errorf("%s: got %d %q, %v, want 4xx", kind, code, text, err)
		}
		control.Close()
		if err := server.Idle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(name); os.IsNotExist(err) == (kind == PureFTPD) {
			t.Errorf("%s: after an aborted upload: %v", kind, err)
		}
	}
}

func TestActiveClientsTalkToServers(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		for _, kind := range FTPServers() {
			if addr == "::1" && kind != VSFTPD {
				continue // it is the clients that are tried
			}
			config := FTPConfig{Root: t.TempDir(), Addr: netip.MustParseAddr(addr)}
			if kind == VSFTPD {
				config.Lines = []string{"pasv_enable=NO"}
			}
			server := TestFTP(t, kind, config)
			target := server.Target()
			target.Active = true
			for _, client := range ActiveClients() {
				if server.Addr.Addr().Is6() && !client.ActiveIPv6() {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", addr, kind, client), func(t *testing.T) {
					t.Parallel()
					exercise(t, client, target, server.Root)
				})
			}
		}
	}
}

func TestServerCanRefusePassiveMode(t *testing.T) {
	server := TestFTP(t, VSFTPD, FTPConfig{Root: t.TempDir(), Lines: []string{"pasv_enable=NO"}})
	for _, client := range []FTPClient{Curl, NcFTP} {
		if out, err := client.List(t.Context(), server.Target(), ""); err == nil {
			t.Errorf("%s: got a list in passive mode:\n%s", client, out)
		}
	}
}
