// Package peers runs the programs of others that culvert has to get along with: the FTP servers
// vsftpd, pure-ftpd and proftpd, OpenSSH's sshd and ssh, haproxy, and the FTP clients curl, lftp,
// ncftp, tnftp, wget, and those of Perl and Python. Tests and benchmarks start them on loopback addresses.
//
// Each works in a temporary folder of its own, with its own configuration, and the machine's
// accounts, configuration and services are neither used nor changed. The package judges nothing:
// what a program should have done is its caller's matter.
//
// The programs are those of the machine or, where it lacks them, of .cache/peers in the
// repository, which `make peers` fills. Root is not needed; without root, pure-ftpd wants user
// namespaces, which some systems forbid.
package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrMissing is what starting a program returns if the machine does not have it.
var ErrMissing = errors.New("run: make peers")

// Find returns the absolute path of a program, or of a library to preload: from .cache/peers
// of the repository that the working directory lies in, or from the machine.
func Find(name string) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	dirs := append([]string{filepath.Join(root, ".cache", "peers", "bin")}, filepath.SplitList(os.Getenv("PATH"))...)
	dirs = append(dirs, "/usr/sbin", "/sbin")
	if strings.HasSuffix(name, ".so") || strings.Contains(name, ".so.") {
		libraries, err := filepath.Glob("/usr/lib/*-linux-*/")
		if err != nil {
			return "", fmt.Errorf("look for %q: %w", name, err)
		}
		dirs = append(dirs, libraries...)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && filepath.IsAbs(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%q is not on this machine: %w", name, ErrMissing)
}

// repository returns the folder with our go.mod, at or above the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil &&
			strings.HasPrefix(string(mod), "module github.com/culvert-ssh/culvert\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find the repository: the working directory is not inside it")
		}
	}
}

// startTimeout is how long a program may take until it is ready.
const startTimeout = 20 * time.Second

// killDelay is how long a program that was told to end may take. After it, it is killed, and so is
// whatever still holds its output.
const killDelay = 5 * time.Second

// command prepares a program with an environment that has nothing of the user's in it.
// The program gets a process group of its own, so that all of it can be killed.
func command(ctx context.Context, home, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = home
	cmd.Env = []string{
		"HOME=" + home, "TMPDIR=" + home, "LC_ALL=C", "TZ=UTC",
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killDelay
	return cmd
}

// Run runs a program to its end, with input on its standard input, and returns what it wrote on its standard output and
// standard error. It is for what no function here does.
func Run(ctx context.Context, input, name string, args ...string) (string, error) {
	return run(ctx, input, name, args...)
}

// run runs a program to its end, with input on its standard input, and returns what it
// wrote on its standard output and standard error. An error has that text in it.
func run(ctx context.Context, input, name string, args ...string) (string, error) {
	path, err := Find(name)
	if err != nil {
		return "", err
	}
	home, err := os.MkdirTemp("", "culvert-"+name+"-")
	if err != nil {
		return "", fmt.Errorf("run %s: %w", name, err)
	}
	defer os.RemoveAll(home)
	cmd := command(ctx, home, path, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return string(out), fmt.Errorf("run %s: %w\n%s", cmd, err, out)
	}
	return string(out), nil
}
