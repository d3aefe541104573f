package lan

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// A Machine is a network namespace, with a loopback interface and what [Cable] has put into it.
type Machine struct {
	t      *testing.T
	name   string
	ns     *os.File
	cables int
}

// NewMachine makes a machine for the duration of a test, which must have called [Apart].
func NewMachine(t *testing.T, name string) *Machine {
	t.Helper()
	m := &Machine{t: t, name: name}
	var err error
	within(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func(failed error) {
		if err = failed; err == nil {
			m.ns, err = os.Open(ownNamespace)
		}
	})
	if err != nil {
		t.Fatal(forbidden(err))
	}
	t.Cleanup(func() { m.ns.Close() })
	m.ip("link", "set", "lo", "up")
	return m
}

// Do runs f on the machine: sockets that f makes and programs that f starts are there, and stay there. What f has other
// goroutines do is elsewhere.
func (m *Machine) Do(f func()) {
	m.t.Helper()
	var err error
	within(func() error { return unix.Setns(int(m.ns.Fd()), unix.CLONE_NEWNET) }, func(failed error) {
		if err = failed; err == nil {
			f()
		}
	})
	if err != nil {
		m.t.Fatalf("go to the machine %s: %v", m.name, err)
	}
}

// ownNamespace is where the thread that opens it is.
const ownNamespace = "/proc/thread-self/ns/net"

// within runs f in the network namespace that enter brings its thread into, and brings the thread back.
func within(enter func() error, f func(failed error)) {
	runtime.LockOSThread()
	home, err := os.Open(ownNamespace)
	if err == nil {
		err = enter()
	}
	defer func() {
		if home == nil || unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with its goroutine, and nobody else finds themselves there
		home.Close()
	}()
	f(err)
}

// Plug is one end of a cable.
type Plug struct {
	*Machine
	Addrs []string // each with the length of its prefix, as in "10.1.0.2/24"
}

// Cable joins two machines. The interfaces of a machine are eth0, eth1 and so on, in the order in which they got their
// cables, and have no addresses but those given: link-local ones as well must be among them, and serve at once.
func Cable(a, b Plug) {
	a.t.Helper()
	// The other machine's end is born there: its name may be taken here.
	a.ip("link", "add", a.next(), "type", "veth", "peer", "name", b.next(), "netns", b.path())
	a.plugIn()
	b.plugIn()
}

// next is the name of the interface that the next cable gets.
func (m *Machine) next() string { return fmt.Sprintf("eth%d", m.cables) }

// path is where programs find the machine's namespace.
func (m *Machine) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.ns.Fd()) }

func (p Plug) plugIn() {
	p.t.Helper()
	name := p.next()
	p.cables++
	p.ip("link", "set", name, "addrgenmode", "none", "up")
	for _, a := range p.Addrs {
		add := []string{"addr", "add", a, "dev", name}
		if strings.Contains(a, ":") {
			add = append(add, "nodad") // nobody else can have it, and the test has no second to wait
		}
		p.ip(add...)
	}
}

// Pull pulls the cable of this number out of the machine, counted from 0: what goes over it is lost, and nobody is told. Push puts it in again.
func (m *Machine) Pull(cable int) { m.ip("link", "set", fmt.Sprintf("eth%d", cable), "down") }

// Push undoes a Pull, for IPv4.
func (m *Machine) Push(cable int) { m.ip("link", "set", fmt.Sprintf("eth%d", cable), "up") }

// ipTimeout is far more than ip takes.
const ipTimeout = 20 * time.Second

// ip runs ip(8) on the machine.
func (m *Machine) ip(args ...string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), ipTimeout)
	defer cancel()
	var err error
	m.Do(func() { _, err = peers.Run(ctx, "", "ip", args...) })
	if err != nil {
		m.t.Fatalf("on the machine %s: %v", m.name, err)
	}
}
