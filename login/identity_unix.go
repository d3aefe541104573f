//go:build unix

package login

import (
	"io/fs"
	"os"
	"syscall"
)

// tooOpen reports whether a key file of ours may be read by others. A file that somebody else
// owns is theirs to protect.
func tooOpen(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid() && st.Mode().Perm()&0o077 != 0
}
