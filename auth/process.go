package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// maxComplaint bounds what is kept of a command's standard error, in bytes.
const maxComplaint = 4 << 10

// runCommand runs a program as a user of the operating system until it has ended and closed its output, or ctx is done; then it is killed, with
// all of its process group. As under sshd, it has a session of its own, / as its working directory, nothing to read,
// and an environment that says little more than who it is.
func runCommand(ctx context.Context, as string, argv []string) (out []byte, complaint string, err error) {
	path, err := trustedProgram(argv[0])
	if err != nil {
		return nil, "", err
	}
	u, err := user.Lookup(as)
	if err != nil {
		return nil, "", fmt.Errorf("look up as whom to run it: %w", err)
	}
	credential, err := credentialOf(u)
	if err != nil {
		return nil, "", err
	}
	cmd := &exec.Cmd{
		Path: path, Args: argv, Dir: "/", // without a context: see kill
		Env:         []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "USER=" + u.Username, "LOGNAME=" + u.Username, "HOME=" + u.HomeDir},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Credential: credential},
	}
	if lang := os.Getenv("LANG"); lang != "" {
		cmd.Env = append(cmd.Env, "LANG="+lang)
	}
	p, err := start(cmd)
	if err != nil {
		return nil, "", err
	}
	defer p.close()
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()

	var said sync.WaitGroup
	said.Go(func() { complaint = p.complaint() })
	out, err = io.ReadAll(io.LimitReader(p.stdout, maxCommandOutput+1))
	if len(out) > maxCommandOutput {
		err = fmt.Errorf("it wrote more than %d bytes", maxCommandOutput)
	}
	if err != nil {
		p.kill()
	}
	err = errors.Join(err, p.wait())
	said.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx) // and that it was killed says nothing more
	}
	if err != nil {
		return nil, complaint, err
	}
	return out, complaint, nil
}

// process is a program that runs, and the ends of its pipes that are ours.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File

	mu   sync.Mutex
	gone bool // its process id may be somebody else's
}

func start(cmd *exec.Cmd) (p *process, err error) {
	p = &process{cmd: cmd}
	var theirs [2]*os.File
	defer func() {
		for _, f := range theirs {
			if f != nil {
				_ = f.Close() // the program has its own
			}
		}
		if err != nil {
			p.close()
		}
	}()
	if p.stdout, theirs[0], err = os.Pipe(); err != nil {
		return nil, err
	}
	if p.stderr, theirs[1], err = os.Pipe(); err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = theirs[0], theirs[1]
	keepDescriptors()
	return p, cmd.Start()
}

func (p *process) close() {
	for _, f := range []*os.File{p.stdout, p.stderr} {
		if f != nil {
			_ = f.Close() // nothing was written to it
		}
	}
}

// kill kills the process group, and ends the reading of what is written by others who hold the pipes.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	past := time.Unix(1, 0)
	_, _ = p.stdout.SetReadDeadline(past), p.stderr.SetReadDeadline(past) // an error says that they are closed
	if !p.gone {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // an error says that there is nobody
	}
}

// wait returns when the program has ended. What it left behind in its process group is killed.
func (p *process) wait() error {
	if awaitExit(p.cmd.Process.Pid) {
		p.kill()
	}
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	return p.cmd.Wait()
}

// complaint reads the standard error to its end, and returns how it begins.
func (p *process) complaint() string {
	var b bytes.Buffer
	_, err := io.Copy(&b, io.LimitReader(p.stderr, maxComplaint))
	if err == nil {
		_, _ = io.Copy(io.Discard, p.stderr) // so that the program doesn't wait for us
	}
	return b.String()
}

// trustedProgram returns the real path of a program that nobody but root and us could have written (safe_path in sshd's
// misc.c).
func trustedProgram(path string) (string, error) {
	real, err := trustedPath(path, nil)
	if err != nil {
		return "", err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return "", err
	}
	return real, trustedFile(path, info, 0o022, nil)
}

// credentialOf returns how to become u, with the groups of u and no others; nil if that is who we are and we can't
// become anybody.
func credentialOf(u *user.User) (*syscall.Credential, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", u.Username, err)
	}
	if os.Geteuid() != 0 {
		if int(uid) != os.Geteuid() {
			return nil, fmt.Errorf("only root may run it as %q, and culvertd runs as user id %d", u.Username, os.Geteuid())
		}
		return nil, nil
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("group of user %q: %w", u.Username, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %q: %w", u.Username, err)
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for _, id := range ids {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("groups of user %q: %w", u.Username, err)
		}
		c.Groups = append(c.Groups, uint32(n))
	}
	return c, nil
}
