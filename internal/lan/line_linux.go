package lan

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// End is one end of a [Stretch]: an interface that is made for it.
type End struct {
	*Namespace
	Name  string
	Addrs []string // each with the length of its prefix, as in "10.1.0.2/24"
}

// Stretched is a line between two namespaces.
type Stretched struct {
	ends    [2]*os.File
	running sync.WaitGroup
	mu      sync.Mutex
	err     error
}

// inFlight is how many bytes are under way in one direction before further ones wait in the sender's queue: at 200 ms of round
// trip, a rate of 640 MB/s.
const inFlight = 64 << 20

// queue is how many packets wait in an interface's queue before some are lost: as many as the fastest sender makes while we are not given a processor.
const queue = 10_000

// Stretch joins two namespaces by a line on which packets meet what w says: two TUN devices, and this process between them.
// Their MTU is that of Ethernet, and TCP is given no other bounds than those of this machine. As with every network card that is worth
// its name, segments are cut late: what TCP hands over at once, up to 64 KiB, is held and delivered as one packet, unless packets are lost or bounded by w.
// The caller must close it.
func Stretch(a, b End, w Way) (*Stretched, error) {
	l := new(Stretched)
	for i, e := range []End{a, b} {
		tun, err := e.openTUN(w.plain())
		if err == nil {
			l.ends[i] = tun
			err = errors.Join(e.ip("link", "set", e.Name, "txqueuelen", fmt.Sprint(queue)), e.addAddrs(e.Name, e.Addrs))
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("stretch a line: %w", err), l.Close())
		}
	}
	connections := newFlows()
	for i, from := range l.ends {
		to, d := l.ends[1-i], w.newDirection(uint64(i), connections)
		l.running.Go(func() {
			err := hold(from, to, inFlight, d.meet, sleepUntil)
			l.mu.Lock()
			defer l.mu.Unlock()
			if !errors.Is(err, os.ErrClosed) {
				l.err = errors.Join(l.err, fmt.Errorf("hold packets: %w", err))
			}
		})
	}
	return l, nil
}

// Close takes the line down. It returns what broke it before.
func (l *Stretched) Close() error {
	for _, end := range l.ends {
		if end != nil {
			_ = end.Close() // a descriptor, nothing else
		}
	}
	l.running.Wait()
	return l.err
}

// openTUN makes the interface, and returns the descriptor of its packets. Each has a virtio_net_hdr in front, which the far end is given
// as it is: so neither side has to compute checksums, and cut segments if they may be whole.
func (e End) openTUN(whole bool) (tun *os.File, err error) {
	if failed := e.Do(func() { tun, err = openTUN(e.Name, whole) }); failed != nil {
		return nil, failed
	}
	return tun, err
}

func openTUN(name string, whole bool) (*os.File, error) {
	const device = "/dev/net/tun"
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w: load the module tun, and let this user open it", device, err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err == nil {
		offload := unix.TUN_F_CSUM
		if whole {
			offload |= unix.TUN_F_TSO4 | unix.TUN_F_TSO6
		}
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offload)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the interface %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), device), nil // only now does the poller take it: before it had an interface, it had an error
}

// sleepUntil is more exact than the runtime's timers, which round up to a millisecond.
func sleepUntil(due time.Time) {
	if wait := time.Until(due); wait > 0 {
		runtime.LockOSThread() // the thread is ours anyway while it sleeps
		defer runtime.UnlockOSThread()
		ts := unix.NsecToTimespec(wait.Nanoseconds())
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil) // woken early by a signal, it is early
	}
}
