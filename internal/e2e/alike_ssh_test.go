package e2e

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/stage"
)

// said are the words of ssh, of servers and of what is reached that make an outcome, in this order, in the way in which they are told.
var said = []struct {
	pattern *regexp.Regexp
	told    string
}{
	{regexp.MustCompile(`For staff only`), "banner"},
	{regexp.MustCompile(`with partial success`), "half in"},
	{regexp.MustCompile(`Authenticated to `), "in"},
	{regexp.MustCompile(`Permission denied \(`), "permission denied"},
	{regexp.MustCompile(`(?i)too many authentication failures`), "too many failures"},
	{regexp.MustCompile(`Host key verification failed`), "host unknown"},
	{regexp.MustCompile(`hello from web`), "web"},
	{regexp.MustCompile(`hello from db`), "db"},
	{regexp.MustCompile(`open failed: administratively prohibited`), "prohibited"},
	{regexp.MustCompile(`open failed: connect failed`), "connect failed"},
	{regexp.MustCompile(`remote port forwarding failed`), "remote forwarding failed"},
	{regexp.MustCompile(`PTY allocation request failed`), "no terminal"},
	{regexp.MustCompile(`it runs no commands`), "no commands"},
}

// client is ssh, running.
type client struct {
	cmd   *exec.Cmd
	said  *stage.Transcript
	stdin io.Closer
	done  chan struct{}
}

// run runs a command line against h, does what it is for, and returns what became of it: words of said, and the exit status of an
// ssh that ended by itself.
func (h *host) run(t *testing.T, l commandLine) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer h.idle()
	local := "127.0.0.1:" + free(t)
	words := strings.Fields(strings.ReplaceAll(h.words.Replace(l.words), "{LOCAL}", local))
	if slices.Contains(words, "{SESSIONS}") {
		return h.sessions(ctx, t, l)
	}
	c := h.start(ctx, t, l, words)
	answers := ""
	switch forwards := strings.Join(words, " "); {
	case strings.Contains(forwards, "-L "):
		c.await(t, `Entering interactive session`)
		answers, _ = get(local, "")
	case strings.Contains(forwards, "-D "):
		c.await(t, `Entering interactive session`)
		for _, at := range h.world.targets {
			out, _ := exec.CommandContext(ctx, "curl", "-s", "--socks5-hostname", local, "http://"+at+"/").Output()
			answers += string(out)
		}
	case strings.Contains(forwards, "-R "):
		if found := c.await(t, `Allocated port (\d+) for remote|remote forward success for: listen (?:\S*:)?([1-9]\d*)`); found != nil {
			answers = reached(found[1] + found[2])
		}
	default:
		select {
		case <-c.done:
		case <-ctx.Done():
			t.Errorf("%s did not end within %v: %s", c.cmd, patience, c.said)
		}
	}
	status := c.end()
	return strings.TrimSpace(outcome(c.said.String()+answers) + status)
}

// start starts ssh. What the command line says comes before what all say, as the first word of an option counts.
func (h *host) start(ctx context.Context, t *testing.T, l commandLine, words []string) *client {
	t.Helper()
	keys := l.with
	if len(keys) == 0 {
		keys = []string{l.as}
	}
	var command []string // the words behind the options
	if i := slices.Index(words, "--"); i >= 0 {
		words, command = words[:i], words[i+1:]
	}
	args := slices.Clone(words)
	for _, key := range keys {
		args = append(args, "-i", h.world.keys[key].Path)
	}
	args = append(args, "-v", "-F", "none", "-l", l.as, "-p", strconv.Itoa(int(h.addr.Port())))
	for _, o := range []string{
		"BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "ExitOnForwardFailure=yes",
		"StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "PreferredAuthentications=publickey",
	} {
		args = append(args, "-o", o)
	}
	args = append(append(args, h.addr.Addr().String()), command...)
	c := &client{cmd: exec.CommandContext(ctx, "ssh", args...), said: stage.NewTranscript(), done: make(chan struct{})}
	c.cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	c.cmd.Stdout, c.cmd.Stderr = c.said, c.said
	if slices.Contains(words, "-S") { // who waits for the others to end
		stdin, err := c.cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		c.stdin = stdin
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with ssh, which ends with ctx
		_ = c.cmd.Wait()
		close(c.done)
	}()
	return c
}

// await waits until ssh has said something, and returns it with its submatches, or nil if it ended before.
func (c *client) await(t *testing.T, pattern string) []string {
	t.Helper()
	wanted, late := regexp.MustCompile(pattern), time.After(patience)
	for {
		text, changed := c.said.State()
		if found := wanted.FindStringSubmatch(text); found != nil {
			return found
		}
		select {
		case <-changed:
		case <-c.done:
			return wanted.FindStringSubmatch(c.said.String())
		case <-late:
			t.Errorf("%s did not say %q within %v: %s", c.cmd, pattern, patience, text)
			return nil
		}
	}
}

// end ends ssh, and returns its status if it had ended by itself.
func (c *client) end() (status string) {
	select {
	case <-c.done:
		status = ", " + strconv.Itoa(c.cmd.ProcessState.ExitCode())
	default:
		_ = c.cmd.Process.Kill() // fails only if it has ended just now
		<-c.done
	}
	if c.stdin != nil {
		_ = c.stdin.Close() // a pipe to nobody
	}
	return status
}

// sessions opens sessions over one connection until there are no more, and returns how many there were.
func (h *host) sessions(ctx context.Context, t *testing.T, l commandLine) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "culvert-mux-") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "mux")
	master := h.start(ctx, t, l, []string{"-N", "-M", "-o", "ControlPath=" + socket})
	master.await(t, `Entering interactive session`)
	const most = 5
	var opened []*client
	defer func() {
		master.end() // first, as it holds what the others write to
		for _, s := range opened {
			s.end()
		}
	}()
	for n := range most {
		// Whoever is refused would connect by himself.
		s := h.start(ctx, t, l, []string{"-T", "-S", socket, "-o", "ProxyCommand=false"})
		opened = append(opened, s)
		if found := s.await(t, `master session id|(?i)session open refused`); found == nil || !strings.HasPrefix(found[0], "master") {
			return strconv.Itoa(n) + " sessions"
		}
	}
	return strconv.Itoa(most) + " sessions or more"
}

// outcome lists what was said.
func outcome(text string) string {
	var all []string
	for _, s := range said {
		if s.pattern.MatchString(text) {
			all = append(all, s.told)
		}
	}
	if i := strings.Index(text, " at: "); i >= 0 {
		all = append(all, text[i+1:])
	}
	return strings.Join(all, ", ")
}

// get asks a target, or what leads to one.
func get(at, from string) (string, error) {
	d := net.Dialer{Timeout: patience}
	if from != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	c, err := d.Dial("tcp", at)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	got, err := io.ReadAll(c)
	return string(got), err
}

// reached says at which addresses of this machine a port that ssh -R has opened leads to a target.
func reached(port string) string {
	text, sep := "", " at: "
	for _, addr := range []string{"127.0.0.1", "127.0.0.9", "::1"} {
		if got, _ := get(net.JoinHostPort(addr, port), ""); strings.Contains(got, "hello") {
			text, sep = text+sep+addr, " "
		}
	}
	return text
}
