//go:build unix

package sshconfig

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// ours reports whether nobody but us and root can write to a file.
func ours(info fs.FileInfo) bool {
	sys, ok := info.Sys().(*syscall.Stat_t)
	return ok && (sys.Uid == 0 || int(sys.Uid) == os.Getuid()) && info.Mode().Perm()&0o022 == 0
}

// shell is the command that has the person's shell run another, as ssh(1) does.
func shell(ctx context.Context, command string) (*exec.Cmd, error) {
	return exec.CommandContext(ctx, cmp.Or(os.Getenv("SHELL"), "/bin/sh"), "-c", command), nil
}
