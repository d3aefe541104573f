package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheProgramIsStartedAgainByTheNameThatItHas(t *testing.T) {
	running, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "culvertd")
	if err := os.Symlink(running, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(link))
	for named, want := range map[string]string{
		link:       link,
		"culvertd": link, // by PATH
		"/bin/sh":  running,
		"another":  running,
		"":         running,
	} {
		if got, err := executable(named); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", named, got, err, want)
		}
	}
}

func TestSocketsForAnotherProcessStayNonblocking(t *testing.T) {
	s, err := listenOn(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer sockets{s}.close()
	files, err := sockets{s}.files()
	if err != nil {
		t.Fatal(err)
	}
	flags, err := unix.FcntlInt(files[0].Fd(), unix.F_GETFL, 0) // os/exec asks for the descriptor in this way
	if err != nil {
		t.Fatal(err)
	}
	if flags&unix.O_NONBLOCK == 0 {
		t.Error("Accept would not end at Close")
	}
	if err := files.close(); err != nil {
		t.Error(err)
	}
}

// A process that takes over may give up an address, and take it again, before it fails.
func TestSocketsThatWereShutAreNotTakenBack(t *testing.T) {
	gone, err := listenOn(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	stays, err := listenOn(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer sockets{stays}.close()
	kept, err := sockets{gone, stays}.files()
	if err != nil {
		t.Fatal(err)
	}
	defer kept.close()
	sockets{gone}.shut()
	back, err := kept.listeners(true)
	if err != nil {
		t.Fatal(err)
	}
	defer back.close()
	if len(back) != 1 || back[0].listener.Addr().String() != stays.listener.Addr().String() {
		t.Errorf("got %v, want %v alone", back, stays.listener.Addr())
	}
}

func TestInheritedSocketsFindTheirAddresses(t *testing.T) {
	open := func(addr string) socket {
		t.Helper()
		s, err := listenOn(netip.MustParseAddrPort(addr))
		if err != nil {
			t.Fatal(err)
		}
		at := s.listener.Addr().(*net.TCPAddr).AddrPort()
		return socket{named: at, listener: s.listener} // as a new process sees it
	}
	any, fixed, other := open("127.0.0.1:0"), open("127.0.0.1:0"), open("127.0.0.2:0")
	got := sockets{any, fixed, other}.claim([]netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.1:0"), fixed.named, netip.MustParseAddrPort("127.0.0.3:1"),
	})
	defer sockets{any, fixed}.close()
	for i, want := range []*net.TCPListener{any.listener, fixed.listener, nil} {
		if got[i].listener != want {
			t.Errorf("%d: got %v, want %v", i, got[i].listener, want)
		}
	}
	if _, err := other.listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("one that is no longer wanted: got %v, want it closed", err)
	}
}

// A script in the place of the program may leave a process behind that keeps its end of the line.
func TestAnHeirHasEndedWhateverItLeavesBehind(t *testing.T) {
	ours, theirs, err := newLine()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	h := &heir{cmd: exec.Command("/bin/sh", "-c", "echo some words >&3; sleep 1000 & echo $! >&3; exit 3"), line: ours}
	h.cmd.ExtraFiles = []*os.File{theirs}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	words, done := make(chan message), make(chan struct{})
	defer close(done)
	go h.listen(words, done)
	if w := <-words; w.say != "some words" {
		t.Errorf("got %+v, want its words", w)
	}
	left, err := strconv.Atoi((<-words).say)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(left, syscall.SIGKILL) }()
	select {
	case w := <-words:
		if w.err == nil || w.err.Error() != "exit status 3" {
			t.Errorf("got %+v, want its end", w)
		}
	case <-time.After(patience):
		t.Error("it lives on")
	}
}
