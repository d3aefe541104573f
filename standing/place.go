package standing

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Place is where the process of a person is found on one machine. The zero Place is nowhere.
type Place struct {
	Dir    string // of the lock and the log; private
	Socket string // in a private directory, too
	lock   string
}

// maxSocket bounds the path of a socket: sun_path has 104 bytes on the systems that have least.
const maxSocket = 103

// Find returns the place of the person with this home directory ("" if there is none), by the environment. The lock is in the person's
// state directory, whatever else is set: so there is one process, be it asked from a desktop or from a scheduled job. The socket is in the
// runtime directory, if there is one.
func Find(home string, getenv func(string) string) (Place, error) {
	host, err := os.Hostname()
	if err != nil {
		return Place{}, fmt.Errorf("find the name of this machine: %w", err)
	}
	host = strings.Map(func(r rune) rune { // it becomes a part of names of files
		if r == filepath.Separator || r < ' ' {
			return '_'
		}
		return r
	}, host)
	state, runtime := stateDirectory(home, getenv), runtimeDirectory(getenv)
	if state == "" {
		state = runtime
	}
	if state == "" {
		return Place{}, errors.New("there is no private directory for the background process: set HOME or XDG_RUNTIME_DIR")
	}
	// A home directory may be that of several machines.
	p := Place{Dir: state, lock: filepath.Join(state, host+".lock"), Socket: filepath.Join(state, host+".sock")}
	if runtime != "" {
		p.Socket = filepath.Join(runtime, "culvert.sock")
	}
	if len(p.Socket) > maxSocket {
		return Place{}, fmt.Errorf("the path %q is too long for a socket: set XDG_RUNTIME_DIR to a directory of yours with a shorter name", p.Socket)
	}
	return p, nil
}

// stateDirectory is culvert's, by the XDG Base Directory Specification.
func stateDirectory(home string, getenv func(string) string) string {
	if base := getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "culvert")
	}
	if !filepath.IsAbs(home) {
		return ""
	}
	return filepath.Join(home, ".local", "state", "culvert")
}

// runtimeDirectory is culvert's. It is "" if there is none. A job that runs without a session may have none, and the session another, so that
// the socket is looked for where the lock says.
func runtimeDirectory(getenv func(string) string) string {
	base := getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(base) {
		return ""
	}
	if info, err := os.Stat(base); err != nil || !info.IsDir() {
		return ""
	}
	return filepath.Join(base, "culvert")
}
