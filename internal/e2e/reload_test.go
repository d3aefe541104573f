package e2e

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// tunnelCount is how many connections are open while something happens to the bastion.
const tunnelCount = 200

// culvertAt starts culvert and returns where its forwards are.
func culvertAt(t *testing.T, b *bastion, args ...string) []netip.AddrPort {
	t.Helper()
	args = append(
		args, "-i", b.key.Path, "-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "known_hosts"),
		"-o", "StrictHostKeyChecking=accept-new", "-p", strconv.Itoa(int(b.addr.Port())), user+"@"+b.addr.Addr().String(),
	)
	forwards := 0
	for _, a := range args {
		if a == "-L" {
			forwards++
		}
	}
	p := start(t, "culvert", args...)
	found, err := p.Await(regexp.MustCompile(`(?m)^\S+ is at ([^ ,\n]+)`), forwards)
	if err != nil {
		t.Fatal(err)
	}
	var at []netip.AddrPort
	for _, m := range found {
		at = append(at, netip.MustParseAddrPort(m[1]))
	}
	return at
}

// reload makes the bastion read its configuration for the nth time, and waits until it has.
func (b *bastion) reload(t *testing.T, n int) {
	t.Helper()
	b.signal(syscall.SIGHUP)
	if _, err := b.Await(regexp.MustCompile(`msg="configuration is read again"`), n); err != nil {
		t.Fatal(err)
	}
}

func TestReloadCutsWhatItMustAndNothingElse(t *testing.T) {
	stays, goes := echo(t), echo(t)
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "MaxChannels 200", "PermitOpen "+stays.String()+" "+goes.String())
	if err := os.WriteFile(filepath.Join(b.keys, "bob"), b.key.Authorized(), 0o644); err != nil {
		t.Fatal(err)
	}
	bob := peers.TestSSH(t, peers.SSHConfig{Server: b.addr, User: "bob", Identity: b.key.Path, Local: []string{stays.String()}})
	bobs := []*pump{newPump(t, bob.Local[0])}
	all := tunnels(t, b, tunnelCount/2, stays, goes)
	for _, pumps := range [][]*pump{bobs, all[0], all[1]} {
		if failed := failures(each(pumps, (*pump).round)); failed != nil {
			t.Fatalf("before the reload: %q", failed)
		}
	}

	stop := make(chan struct{})
	var running sync.WaitGroup
	results := make([][]error, 3)
	for i, pumps := range [][]*pump{bobs, all[0], all[1]} {
		running.Go(func() { results[i] = each(pumps, func(p *pump) error { return p.run(stop) }) })
	}
	b.configure(t, "MaxChannels 200", "PermitOpen "+stays.String()+" "+goes.String())
	b.reload(t, 1)
	b.configure(t, "MaxChannels 200", "PermitOpen "+stays.String(), "DenyUsers bob")
	b.reload(t, 2)
	b.reload(t, 3)
	if _, err := b.Await(regexp.MustCompile(`"event":"channel.closed"[^\n]*"result":"aborted","rule":"[^"]*sshd_config:6"`), tunnelCount/2); err != nil {
		t.Error(err)
	}
	b.await(`"event":"connection.closed"[^\n]*"user":"bob"[^\n]*"rule":"[^"]*sshd_config:7","reason":"no longer permitted to log in: `)
	close(stop)
	running.Wait()

	if failed := failures(results[1]); failed != nil {
		t.Errorf("cut although it is permitted: %q", failed)
	}
	for i, cut := range [][]*pump{bobs, all[1]} {
		for _, err := range each(cut, (*pump).round) {
			if err == nil || timedOut(err) {
				t.Errorf("group %d: got %v of what isn't permitted any more, want an abort", i, err)
			}
		}
	}
	if failed := failures(each(all[0], (*pump).end)); failed != nil {
		t.Errorf("end of data: %q", failed)
	}
	<-bob.Done()
}

func TestPendingExpectationsThroughAReload(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), []byte("through a reload\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root})
	permit := "PermitOpen ftp/" + server.Addr.String()
	b := startCulvertd(t, server.Addr.Addr(), permit)
	_, at := startCulvert(t, b.addr, user, b.key, server.Addr)
	control := login(t, dial(t, at), server)

	// One that is still permitted is met afterwards.
	data := netip.AddrPortFrom(at.Addr(), control.endpoint())
	b.configure(t, "MaxChannels 100", permit)
	b.reload(t, 1)
	conn := dial(t, data)
	control.command(150, "RETR file")
	if got, err := io.ReadAll(conn); err != nil || string(got) != "through a reload\n" {
		t.Errorf("got %q, %v", got, err)
	}
	control.reply(226)

	// One whose server isn't permitted any more ends, and its control connection with it.
	control.endpoint()
	b.configure(t, "PermitOpen 192.0.2.1:21")
	b.reload(t, 2)
	b.await(`"event":"ftp.expired"`)
	b.await(`"event":"channel.closed"[^\n]*"result":"aborted","rule":"[^"]*sshd_config:5"`)
	if _, err := control.ReadLine(); err == nil {
		t.Error("the control connection lives on")
	}
}
