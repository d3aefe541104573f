package lan

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside marks the process that Apart has started, in its environment.
const inside = "CULVERT_LAN"

// Inside reports whether this process was started by [Apart].
func Inside() bool { return os.Getenv(inside) != "" }

// goodbye is how long before its parent's deadline a test apart must have ended, to say itself where it hung.
const goodbye = 5 * time.Second

// Apart runs the calling test once more, as a process of its own that may make machines, with env added to its
// environment, and reports true when that has ended; the test has failed if it failed there. In that process
// it reports false. So a test begins:
//
//	if lan.Apart(t) {
//		return
//	}
func Apart(t *testing.T, env ...string) bool {
	t.Helper()
	if Inside() {
		return false
	}
	if strings.Contains(t.Name(), "/") {
		t.Fatalf("lan.Apart is called by %s: only a whole test can run apart", t.Name())
	}
	// The process is killed if the thread that has started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, out, err := startAgain(t, env)
	if err != nil {
		t.Fatal(err)
	}
	switch err := cmd.Wait(); {
	case err != nil:
		t.Fatalf("among its own machines: %v\n%s", err, out)
	case testing.Verbose():
		t.Log(out)
	}
	return true
}

// startAgain starts the test in a network namespace that is its own to change.
func startAgain(t *testing.T, env []string) (*exec.Cmd, *bytes.Buffer, error) {
	out := new(bytes.Buffer)
	cmd, err := Start(func() *exec.Cmd {
		args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
		if deadline, ok := t.Deadline(); ok {
			args = append(args, "-test.timeout="+max(time.Until(deadline)-goodbye, time.Second).String())
		}
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(append(os.Environ(), env...), inside+"=1")
		cmd.Stdout, cmd.Stderr = out, out
		return cmd
	})
	return cmd, out, err
}

// inUserNamespace keeps the user's number, so that programs find what they find outside, and gives the user root's
// powers over the network; whom the user may be besides stays as it is.
func inUserNamespace() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE},
	}
	if os.Geteuid() == 0 { // sshd as root becomes somebody else for a while, and needs somebody to become
		attr.UidMappings, attr.GidMappings = everybody("uid"), everybody("gid")
		attr.GidMappingsEnableSetgroups = true
		attr.AmbientCaps = nil
	}
	return attr
}

// everybody maps each number that there is here to itself.
func everybody(kind string) (all []syscall.SysProcIDMap) {
	text, err := os.ReadFile("/proc/self/" + kind + "_map")
	if err != nil {
		return nil // the start will fail, and say so
	}
	for line := range strings.Lines(string(text)) {
		var here, outside, size int
		if _, err := fmt.Sscan(line, &here, &outside, &size); err == nil {
			all = append(all, syscall.SysProcIDMap{ContainerID: here, HostID: here, Size: size})
		}
	}
	return all
}

// forbidden says what to do on a machine that doesn't let us have machines.
func forbidden(err error) error {
	return fmt.Errorf("make a network of its own for a test: %w: run the tests as root, or let users have namespaces "+
		"(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=10000, kernel.apparmor_restrict_unprivileged_userns=0)", err)
}
