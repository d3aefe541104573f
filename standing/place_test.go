//go:build unix

package standing

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A job without a session and a desktop with one must come to the same process.
func TestPlaceIsTheSameWithAndWithoutASession(t *testing.T) {
	home, run := t.TempDir(), t.TempDir()
	inSession, err := Find(home, func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": run}[name] })
	if err != nil {
		t.Fatal(err)
	}
	inJob, err := Find(home, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(run, "culvert", "culvert.sock"); inSession.Socket != want {
		t.Errorf("in a session: got the socket %s, want %s", inSession.Socket, want)
	}
	if want := filepath.Join(home, ".local", "state", "culvert"); filepath.Dir(inJob.Socket) != want {
		t.Errorf("in a job: got the socket %s, want it in %s", inJob.Socket, want)
	}
	for _, pair := range [][2]Place{{inSession, inJob}, {inJob, inSession}} {
		holder, other := pair[0], pair[1]
		lock, err := holder.take()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.take(); err == nil {
			t.Error("both have taken the place")
		}
		l, err := holder.listen()
		if err != nil {
			t.Fatal(err)
		}
		c, err := other.dial()
		if err != nil {
			t.Errorf("a process at %s is not found from %s: %v", holder.Socket, other.Socket, err)
		} else {
			c.Close()
		}
		l.Close()
		lock.Close()
	}
}

func TestPlaceWithoutADirectory(t *testing.T) {
	long := filepath.Join("/", strings.Repeat("x", 100))
	for name, test := range map[string]struct {
		home string
		env  map[string]string
		want string
	}{
		"nowhere":                              {"", nil, "set HOME or XDG_RUNTIME_DIR"},
		"a runtime directory that isn't there": {"", map[string]string{"XDG_RUNTIME_DIR": "/nonexistent"}, "set HOME or XDG_RUNTIME_DIR"},
		"a relative one":                       {"", map[string]string{"XDG_RUNTIME_DIR": "run", "XDG_STATE_HOME": "state"}, "set HOME or XDG_RUNTIME_DIR"},
		"a long home":                          {long, nil, "too long for a socket"},
	} {
		if p, err := Find(test.home, func(key string) string { return test.env[key] }); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %+v, %v, want %q", name, p, err, test.want)
		}
	}
}

// Whoever can look into the directory could listen there in our place, and be told passwords.
func TestDirectoryThatIsNotPrivateIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"others may read":   {func(dir string) error { return os.Chmod(dir, 0o755) }, "is not private: chmod 700 it"},
		"a group may write": {func(dir string) error { return os.Chmod(dir, 0o720) }, "is not private: chmod 700 it"},
		"a link": {func(dir string) error {
			return os.Rename(dir, dir+".other")
		}, "is not a directory"},
		"somebody else's": {func(dir string) error { return os.Chown(dir, 4711, -1) }, "belongs to somebody else"},
	} {
		p := testPlace(t)
		lock, err := p.take()
		if err != nil {
			t.Fatal(err)
		}
		if err := test.spoil(p.Dir); err != nil {
			if os.Geteuid() != 0 {
				continue // who isn't root can't give a directory away
			}
			t.Fatal(err)
		}
		if name == "a link" {
			if err := os.Symlink(p.Dir+".other", p.Dir); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.dial(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: dial: got %v, want %q", name, err, test.want)
		}
		if _, err := p.listen(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: listen: got %v, want %q", name, err, test.want)
		}
		lock.Close()
		if _, err := p.take(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: take: got %v, want %q", name, err, test.want)
		}
		if _, err := p.OpenLog(); err == nil {
			t.Errorf("%s: the log was opened", name)
		}
	}
}

// The lock says where the socket is; that place must be private as well.
func TestSocketInAPublicDirectoryIsNotCalled(t *testing.T) {
	p := testPlace(t)
	p.Socket = filepath.Join(t.TempDir(), "public", "culvert.sock")
	lock, err := p.take()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	l, err := p.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(filepath.Dir(p.Socket), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := p.dial(); err == nil || !strings.Contains(err.Error(), "is not private") {
		t.Errorf("got %v, want that it is not private", err)
	}
}

func TestWhatIsNoLinkIsNoLock(t *testing.T) {
	p := testPlace(t)
	lock, err := p.take()
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if err := os.Rename(p.lock, p.lock+".other"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(p.lock+".other", p.lock); err != nil {
		t.Fatal(err)
	}
	if _, err := p.take(); err == nil {
		t.Error("a lock that is a symbolic link was taken")
	}
}

func TestLogIsBounded(t *testing.T) {
	p := testPlace(t)
	l, err := p.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 99) + "\n"
	for range 5 * maxLog / len(line) / 2 {
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{logName, logName + ".old"} {
		info, err := os.Stat(filepath.Join(p.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() == 0 || info.Size() > maxLog || info.Size()%int64(len(line)) != 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has %d bytes and mode %v, want whole lines, at most %d bytes, for nobody else", name, info.Size(), info.Mode(), maxLog)
		}
	}
}

// TestLogGoesOnAfterATurnThatFailed: what kept the new file from being opened may be over by the next line.
func TestLogGoesOnAfterATurnThatFailed(t *testing.T) {
	p := testPlace(t)
	l, err := p.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	line := bytes.Repeat([]byte("x"), maxLog)
	if _, err := l.Write(line); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(l.path, l.path+".old"); err != nil { // as far as it got
		t.Fatal(err)
	}
	if _, err := l.Write(line); err != nil {
		t.Errorf("after a turn that got no further than the old file: %v", err)
	}
}
