package lan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// A Namespace is a network namespace: a machine without a test to belong to. Who makes one, and what it is joined to the
// others by, must have been started by [Start], or be root.
type Namespace struct {
	ns *os.File
}

// NewNamespace makes one with a loopback interface. The caller must close it.
func NewNamespace() (*Namespace, error) {
	n := new(Namespace)
	var err error
	within(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func(failed error) {
		if err = failed; err == nil {
			n.ns, err = os.Open(ownNamespace)
		}
	})
	if err != nil {
		return nil, forbidden(err)
	}
	return n, n.ip("link", "set", "lo", "up")
}

// Here is the namespace that the caller is in, with a loopback interface. The caller must close it.
func Here() (*Namespace, error) {
	ns, err := os.Open(ownNamespace)
	if err != nil {
		return nil, fmt.Errorf("find the own network namespace: %w", err)
	}
	n := &Namespace{ns: ns}
	return n, n.ip("link", "set", "lo", "up")
}

// Close lets the namespace go, which ends with the last socket and program in it.
func (n *Namespace) Close() error { return n.ns.Close() }

// Path is where programs find the namespace as long as this process has it, as in nsenter --net=PATH.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.ns.Fd()) }

// Do runs f in the namespace: sockets that f makes and programs that f starts are there, and stay there. What f has other
// goroutines do is elsewhere.
func (n *Namespace) Do(f func()) error {
	var err error
	within(func() error { return unix.Setns(int(n.ns.Fd()), unix.CLONE_NEWNET) }, func(failed error) {
		if err = failed; err == nil {
			f()
		}
	})
	if err != nil {
		return fmt.Errorf("go to another network namespace: %w", err)
	}
	return nil
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

// addAddrs gives an interface its addresses.
func (n *Namespace) addAddrs(dev string, addrs []string) error {
	if err := n.ip("link", "set", dev, "addrgenmode", "none", "up"); err != nil {
		return err
	}
	for _, a := range addrs {
		add := []string{"addr", "add", a, "dev", dev}
		if strings.Contains(a, ":") {
			add = append(add, "nodad") // nobody else can have it, and the test has no second to wait
		}
		if err := n.ip(add...); err != nil {
			return err
		}
	}
	return nil
}

// ipTimeout is far more than ip takes.
const ipTimeout = 20 * time.Second

// ip runs ip(8) in the namespace.
func (n *Namespace) ip(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), ipTimeout)
	defer cancel()
	var err error
	if failed := n.Do(func() { _, err = peers.Run(ctx, "", "ip", args...) }); failed != nil {
		return failed
	}
	return err
}

// Start starts the command that prepare returns in a network namespace that is its own to change: it may make namespaces and
// machines. The command is killed when the thread ends that started it: lock it. Where one way to a namespace is barred,
// prepare is called again for the next.
func Start(prepare func() *exec.Cmd) (*exec.Cmd, error) {
	own := []*syscall.SysProcAttr{inUserNamespace()}
	if os.Geteuid() == 0 {
		// Root has its user ids without a namespace for users as well. In a container it may not have the right, and needs one.
		own = append([]*syscall.SysProcAttr{{Cloneflags: unix.CLONE_NEWNET}}, own...)
	}
	var refused error
	for _, attr := range own {
		cmd := prepare()
		attr.Setpgid, attr.Pdeathsig = true, syscall.SIGKILL
		cmd.SysProcAttr = attr
		err := cmd.Start()
		if err == nil {
			return cmd, nil
		}
		refused = errors.Join(refused, err)
	}
	return nil, forbidden(refused)
}
