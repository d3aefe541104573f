package lan

import (
	"fmt"
	"testing"
)

// A Machine is a network namespace for a test, with a loopback interface and what [Cable] and [Line] have put into it.
type Machine struct {
	*Namespace
	t      *testing.T
	name   string
	cables int
}

// NewMachine makes a machine for the duration of a test, which must have called [Apart].
func NewMachine(t *testing.T, name string) *Machine {
	t.Helper()
	ns, err := NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return &Machine{Namespace: ns, t: t, name: name}
}

// Do runs f on the machine: sockets that f makes and programs that f starts are there, and stay there. What f has other
// goroutines do is elsewhere.
func (m *Machine) Do(f func()) {
	m.t.Helper()
	if err := m.Namespace.Do(f); err != nil {
		m.t.Fatalf("on the machine %s: %v", m.name, err)
	}
}

// Plug is one end of a cable or a line.
type Plug struct {
	*Machine
	Addrs []string // each with the length of its prefix, as in "10.1.0.2/24"
}

// Cable joins two machines. The interfaces of a machine are eth0, eth1 and so on, in the order in which they got their
// cables, and have no addresses but those given: link-local ones as well must be among them, and serve at once.
func Cable(a, b Plug) {
	a.t.Helper()
	// The other machine's end is born there: its name may be taken here.
	a.ip("link", "add", a.next(), "type", "veth", "peer", "name", b.next(), "netns", b.Path())
	a.plugIn()
	b.plugIn()
}

// Line joins two machines as [Cable] does, by a line on which packets meet what w says. It carries as much at once as [Stretch] says.
func Line(a, b Plug, w Way) {
	a.t.Helper()
	l, err := Stretch(End{a.Namespace, a.next(), a.Addrs}, End{b.Namespace, b.next(), b.Addrs}, w)
	if err != nil {
		a.t.Fatal(err)
	}
	a.cables++
	b.cables++
	a.t.Cleanup(func() {
		if err := l.Close(); err != nil {
			a.t.Error(err)
		}
	})
}

// next is the name of the interface that the next cable gets.
func (m *Machine) next() string { return fmt.Sprintf("eth%d", m.cables) }

func (p Plug) plugIn() {
	p.t.Helper()
	name := p.next()
	p.cables++
	if err := p.addAddrs(name, p.Addrs); err != nil {
		p.t.Fatalf("on the machine %s: %v", p.name, err)
	}
}

// Pull pulls the cable of this number out of the machine, counted from 0: what goes over it is lost, and nobody is told. Push puts it in again.
func (m *Machine) Pull(cable int) { m.ip("link", "set", fmt.Sprintf("eth%d", cable), "down") }

// Push undoes a Pull, for IPv4.
func (m *Machine) Push(cable int) { m.ip("link", "set", fmt.Sprintf("eth%d", cable), "up") }

// ip runs ip(8) on the machine.
func (m *Machine) ip(args ...string) {
	m.t.Helper()
	if err := m.Namespace.ip(args...); err != nil {
		m.t.Fatalf("on the machine %s: %v", m.name, err)
	}
}
