package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/server"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(strangerAt); path != "" {
		os.Exit(stranger(path))
	}
	goleak.VerifyTestMain(m)
}

// fake is a bastion of two connections, on which each look finds more bytes.
type fake struct {
	looks   atomic.Int64
	ready   atomic.Bool
	now     atomic.Int64 // seconds that have passed by the clock
	killed  []string
	unbans  []netip.Addr
	drained bool
	reload  error
}

func (f *fake) bastion() Bastion {
	return Bastion{
		Connections: f.connections,
		Penalised:   func() []server.Penalised { return []server.Penalised{{Active: true}, {}, {}} },
		Panics:      func() int64 { return 3 },
		Traffic:     func() (int64, int64) { return 1000, 2000 },
		Ready:       f.ready.Load,
		Kill: func(id string) bool {
			f.killed = append(f.killed, id)
			return id == "7"
		},
		Unban: func(a netip.Addr) bool {
			f.unbans = append(f.unbans, a)
			return a == netip.MustParseAddr("192.0.2.7")
		},
		Reload:  func(context.Context) error { return f.reload },
		Drain:   func(context.Context) error { f.drained = true; return nil },
		Version: "test", Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Unix(f.now.Add(10), 0) },
	}
}

func (f *fake) connections() []server.Info {
	n := f.looks.Add(1)
	return []server.Info{
		{ID: "7", User: "alice", Client: netip.MustParseAddrPort("192.0.2.7:4711"), Up: 100 * n, Down: 1000 * n, Channels: []channels.Info{
			{Request: "1", Type: "direct-tcpip", Target: "db.corp:5432", Up: 10 * n, Down: 50 * n},
			{Request: "2", Type: "made-up-by-a-client"},
		}},
		{ID: "8", Client: netip.MustParseAddrPort("192.0.2.8:4712"), Channels: []channels.Info{}},
		{ID: "9", User: "alice", First: "7", Client: netip.MustParseAddrPort("192.0.2.7:4713"), Channels: []channels.Info{}},
	}
}

// control serves f on a control socket.
func (f *fake) control(t *testing.T) (*Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ctl")
	c, err := ServeControl(path, f.bastion())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return NewClient(path), path
}

func TestControlSocketListsAndShows(t *testing.T) {
	f := &fake{}
	c, path := f.control(t)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket: got %v, %v, want mode 0600", info.Mode(), err)
	}
	all, err := c.Connections(0)
	if err != nil || len(all) != 3 || all[0].User != "alice" || all[0].Up != 100 || all[0].UpRate != 0 || len(all[0].Channels) != 2 {
		t.Errorf("list: got %+v, %v", all, err)
	}
	// Ten seconds pass between two looks by the clock of the bastion.
	one, err := c.Connection("7", time.Millisecond)
	if err != nil || one.UpRate != 10 || one.DownRate != 100 || one.Rates["1"] != (Rate{1, 5}) {
		t.Errorf("show: got %+v, %v, want 10 up and 100 down a second, of channel 1 one and five", one, err)
	}
	if _, err := c.Connection("10", 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("show 10: got %v, want that it isn't there", err)
	}
	if _, err := c.Connections(time.Hour); err == nil || !strings.Contains(err.Error(), "up to 10s") {
		t.Errorf("rates over an hour: got %v, want an error", err)
	}
}

func TestControlSocketDoes(t *testing.T) {
	f := &fake{reload: errors.New("sshd_config:3: unknown keyword")}
	c, _ := f.control(t)
	if err := c.Kill("7"); err != nil {
		t.Errorf("kill 7: %v", err)
	}
	if err := c.Kill("../8"); !errors.Is(err, ErrNotFound) || !slices.Equal(f.killed, []string{"7", "../8"}) {
		t.Errorf("kill ../8: got %v, and killed were %q", err, f.killed)
	}
	if err := c.Unban(netip.MustParseAddr("::ffff:192.0.2.7")); err != nil {
		t.Errorf("unban: %v", err)
	}
	if err := c.Unban(netip.MustParseAddr("192.0.2.8")); !errors.Is(err, ErrNotFound) {
		t.Errorf("unban of who isn't banned: got %v", err)
	}
	if err := c.Reload(); err == nil || !strings.Contains(err.Error(), "sshd_config:3: unknown keyword") {
		t.Errorf("reload: got %v, want why it failed", err)
	}
	f.reload = nil
	if err := errors.Join(c.Reload(), c.Drain()); err != nil || !f.drained {
		t.Errorf("reload and drain: got %v, drained %v", err, f.drained)
	}
}

// A process that lets another take over makes room, and stays to be asked.
func TestControlSocketIsTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctl")
	first, second := &fake{}, &fake{}
	before, err := ServeControl(path, first.bastion())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ServeControl(path, second.bastion()); err == nil || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("while the first serves it: got %v, want an error", err)
	}
	if err := before.Rename(path + ".1"); err != nil {
		t.Fatal(err)
	}
	after, err := ServeControl(path, second.bastion())
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*fake{path + ".1": first, path: second} {
		if _, err := NewClient(name).Connections(0); err != nil || f.looks.Load() != 1 {
			t.Errorf("%s: got %v and %d looks, want one", name, err, f.looks.Load())
		}
	}
	if err := errors.Join(before.Close(), after.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// What a process has left behind that was killed is in nobody's way.
func TestControlSocketOfTheDeadIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctl")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := ServeControl(path, (&fake{}).bastion())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(path).Connections(0); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestControlSocketReplacesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctl")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := ServeControl(path, (&fake{}).bastion()); err == nil {
		t.Errorf("got a socket, want an error; close: %v", c.Close())
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file: got %q, %v", text, err)
	}
}

// health serves f and returns the address.
func (f *fake) health(t *testing.T, m *Metrics) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ServeHealth(l, f.bastion(), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestReadinessFollowsTheBastion(t *testing.T) {
	f := &fake{}
	base := f.health(t, NewMetrics())
	for _, ready := range []bool{true, false, true} {
		f.ready.Store(ready)
		want := map[bool]int{true: http.StatusOK, false: http.StatusServiceUnavailable}[ready]
		if status, body := get(t, base+"/readyz"); status != want {
			t.Errorf("ready %v: got %d %q, want %d", ready, status, body, want)
		}
		if status, _ := get(t, base+"/healthz"); status != http.StatusOK {
			t.Errorf("healthz: got %d, want 200 whether it is ready or not", status)
		}
	}
	if status, _ := get(t, base+"/connections"); status != http.StatusNotFound {
		t.Errorf("what is for the control socket: got %d, want 404", status)
	}
}

func TestMetricsCountAndNameNobody(t *testing.T) {
	f, m := &fake{}, NewMetrics()
	base := f.health(t, m)
	conn := audit.Conn{ID: "7", User: "alice", Client: netip.MustParseAddrPort("192.0.2.7:4711")}
	for range 2 {
		m.Observe(audit.ConnectionOpened{Conn: conn})
	}
	m.Observe(audit.ConnectionRefused{Client: conn.Client, Reason: "PerSourcePenalties: authfail", Count: 5})
	m.Observe(audit.Authentication{Conn: conn, Method: "publickey", Result: "accepted"})
	m.Observe(audit.Authentication{Conn: conn, Method: "made-up", Result: "refused"})
	m.Observe(audit.ChannelOpened{Conn: conn, Type: "direct-tcpip", Target: "db.corp:5432"})
	m.Observe(audit.ChannelRefused{Conn: conn, Type: "made-up", Target: "db.corp:5432"})
	m.Observe(audit.FTPTransfer{Conn: conn, Direction: "download", Result: "complete", Path: "/secret"})
	m.Observe(audit.Reload{Result: "refused", File: "sshd_config"})
	m.Observe(audit.Lost{Lost: 4})
	_, text := get(t, base+"/metrics")
	for _, want := range []string{
		"culvert_connections_total 2",
		`culvert_connections_refused_total{reason="PerSourcePenalties"} 5`,
		`culvert_authentications_total{method="publickey",result="accepted"} 1`,
		`culvert_authentications_total{method="other",result="refused"} 1`,
		`culvert_channels_total{result="opened",type="direct-tcpip"} 1`,
		`culvert_channels_total{result="refused",type="other"} 1`,
		`culvert_ftp_transfers_total{direction="download",result="complete"} 1`,
		`culvert_reloads_total{result="refused"} 1`,
		"culvert_audit_lost_total 4",
		`culvert_connections{state="authenticated"} 1`,
		`culvert_connections{state="side"} 1`,
		`culvert_connections{state="unknown"} 1`,
		`culvert_channels{type="direct-tcpip"} 1`,
		`culvert_channels{type="other"} 1`,
		`culvert_bytes_total{direction="up"} 1000`,
		`culvert_panics_total 3`,
		`culvert_penalised{active="no"} 2`,
		`culvert_build_info{version="test"} 1`,
		"culvert_ready 0",
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	for _, word := range []string{"alice", "192.0.2", "db.corp", "made-up", "secret"} {
		if strings.Contains(text, word) {
			t.Errorf("/metrics names %q", word)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// Whoever opens connections and says nothing keeps nobody else out for good, and takes no more than a bounded number.
func TestSilentClientsOfAListenerAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounded := limit(l)
	var clients []net.Conn
	for range maxClients + 1 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	var accepted []net.Conn
	for range maxClients {
		c, err := bounded.Accept()
		if err != nil {
			t.Fatal(err)
		}
		accepted = append(accepted, c)
	}
	next := make(chan error, 1)
	go func() {
		c, err := bounded.Accept()
		if err == nil {
			err = c.Close()
		}
		next <- err
	}()
	select {
	case err := <-next:
		t.Errorf("one more than %d was accepted: %v", maxClients, err)
	case <-time.After(50 * time.Millisecond):
	}
	_ = accepted[0].Close()
	_ = accepted[0].Close() // gives its place back only once
	if err := <-next; err != nil {
		t.Errorf("after one has left: %v", err)
	}
	for _, c := range accepted[1:] {
		_ = c.Close()
	}
	_ = bounded.Close()
	if _, err := bounded.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the close: got %v, want net.ErrClosed", err)
	}
	_ = clients
}
