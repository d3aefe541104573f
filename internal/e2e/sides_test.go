package e2e

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// striped starts a bastion, a culvert with side connections to it, and a pump through both that goes over them.
func striped(t *testing.T, lines ...string) (b *bastion, socket string, p *pump) {
	t.Helper()
	target := echo(t)
	socket = filepath.Join(t.TempDir(), "ctl")
	b = startCulvertd(t, netip.MustParseAddr("127.0.0.1"), append(lines, "PermitOpen "+target.String(), "ControlSocket "+socket)...)
	at := culvertAt(t, b, "-o", "Stripes=3", "-L", "127.0.0.1:0:"+target.String())
	p = newPump(t, at[0])
	if _, err := b.Await(regexp.MustCompile(`"event":"side.accepted"`), 3); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		if err := p.round(); err != nil {
			t.Fatal(err)
		}
	}
	return b, socket, p
}

// ctl runs culvertd ctl.
func ctl(t *testing.T, socket string, args ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(binaries, "culvertd"), append([]string{"ctl", "-s", socket, "--over", "1ms"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ctl %q: %v: %s", args, err, out)
	}
	return string(out)
}

// An administrator sees what belongs to what. Who ends a connection ends all of it; who ends a side connection, only slows it down.
func TestSideConnectionsBelongToTheirConnection(t *testing.T) {
	t.Parallel()
	b, socket, p := striped(t)
	list := ctl(t, socket, "list")
	if got := strings.Count(list, "stripes of 1\n"); got != 3 {
		t.Errorf("list: got %d side connections of connection 1, want 3:\n%s", got, list)
	}
	if !regexp.MustCompile(`direct-tcpip .* over [34] stripes\n`).MatchString(list) {
		t.Errorf("list: the channel isn't shown to go over stripes:\n%s", list)
	}
	ctl(t, socket, "kill", "2")
	b.await(`"event":"connection.closed","conn":"2",[^\n]*"reason":"ended by the administrator"`)
	if err := p.round(); err != nil {
		t.Errorf("after a side connection was ended: %v", err)
	}
	if _, err := b.Await(regexp.MustCompile(`"event":"side.accepted"`), 4); err != nil {
		t.Errorf("it isn't made again: %v", err)
	}
	ctl(t, socket, "kill", "1")
	b.await(`"event":"channel.closed","conn":"1",[^\n]*"result":"aborted","stripes":`)
	for _, side := range []string{"3", "4", "5"} {
		b.await(`"event":"connection.closed","conn":"` + side + `"`)
	}
	if err := p.round(); err == nil || timedOut(err) {
		t.Errorf("after all was ended: got %v, want an abort", err)
	}
}

// A user who is shut out loses the side connections as well, at once.
func TestSideConnectionsEndWithAReloadThatShutsOut(t *testing.T) {
	t.Parallel()
	b, _, p := striped(t)
	b.configure(t, "PermitOpen 127.0.0.1:*", "DenyUsers "+user)
	b.reload(t, 1)
	b.await(`"event":"connection.closed","conn":"1",[^\n]*"reason":"no longer permitted to log in: `)
	for _, side := range []string{"2", "3", "4"} {
		b.await(`"event":"connection.closed","conn":"` + side + `"`)
	}
	if err := p.round(); err == nil || timedOut(err) {
		t.Errorf("got %v, want an abort", err)
	}
}

// The process that drains keeps the side connections, and the new one lets none in that belong to the other; the transfer notices nothing.
func TestStripesOutliveAHandover(t *testing.T) {
	t.Parallel()
	b, socket, p := striped(t)
	first := b.PID()
	b.signal(syscall.SIGUSR2)
	heir := b.heir(1)
	b.await(fmt.Sprintf(`another process has taken over; draining" pid=%d`, heir))
	ctl(t, fmt.Sprintf("%s.%d", socket, first), "kill", "2") // what culvert makes in its place comes to the new process
	b.await(`"event":"side.refused"`)
	for range 8 {
		if err := p.round(); err != nil {
			t.Fatalf("while it drains: %v", err)
		}
	}
	if err := p.end(); err != nil {
		t.Errorf("the end: %v", err)
	}
	b.await(`"event":"channel.closed","conn":"1",[^\n]*"result":"clean","stripes":`)
	ctl(t, fmt.Sprintf("%s.%d", socket, first), "kill", "1")
	b.await(`msg="the last connection has ended"`)
	if err := syscall.Kill(heir, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.await(`msg=stopping signal=terminated`)
}
