package sftp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	protocol "github.com/pkg/sftp"
	"go.uber.org/goleak"

	"github.com/culvert-ssh/culvert/sftp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a directory that is served, beside a secret that must not be.
type service struct {
	*protocol.Client
	dir    string // what is served
	secret string // a file beside it

	mu     sync.Mutex
	events []string
}

func serve(t *testing.T, change func(*sftp.Config)) *service {
	t.Helper()
	top := t.TempDir()
	s := &service{dir: filepath.Join(top, "served"), secret: filepath.Join(top, "secret")}
	if err := errors.Join(os.Mkdir(s.dir, 0o755), os.WriteFile(s.secret, []byte("secret"), 0o644)); err != nil {
		t.Fatal(err)
	}
	root, err := sftp.OpenRoot(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	note := func(format string, args ...any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	cfg := sftp.Config{
		Root:    root,
		Opened:  func(path, mode string) error { note("opened %s %s", path, mode); return nil },
		Closed:  func(path string, read, written int64) { note("closed %s %d %d", path, read, written) },
		Changed: func(command, path, target string) error { note("%s %s %s", command, path, target); return nil },
	}
	if change != nil {
		change(&cfg)
	}
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- sftp.Serve(ours, cfg) }()
	client, err := protocol.NewClientPipe(theirs, theirs)
	if err != nil {
		t.Fatal(err)
	}
	s.Client = client
	t.Cleanup(func() {
		client.Close()
		theirs.Close()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		root.Close()
	})
	return s
}

func (s *service) path(name string) string { return filepath.Join(s.dir, name) }

func (s *service) put(t *testing.T, name, content string) {
	t.Helper()
	f, err := s.Create(name)
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	if _, err := io.WriteString(f, content); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *service) get(name string) (string, error) {
	f, err := s.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	return string(data), err
}

func TestFilesComeAndGoWhole(t *testing.T) {
	s := serve(t, nil)
	content := string(bytes.Repeat([]byte("0123456789abcdef"), 100_000))
	s.put(t, "a", content)
	if got, err := s.get("/a"); got != content || err != nil {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(content))
	}
	if on, err := os.ReadFile(s.path("a")); string(on) != content || err != nil {
		t.Errorf("on disk are %d bytes, %v", len(on), err)
	}
	want := []string{"opened /a read-write", "closed /a 0 1600000", "opened /a read", "closed /a 1600000 0"}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.events, want) {
		t.Errorf("told of %q, want %q", s.events, want)
	}
}

func TestNamesAndAttributesChange(t *testing.T) {
	s := serve(t, nil)
	when := time.Unix(1_000_000_000, 0)
	s.put(t, "old", "12345")
	for _, step := range []func() error{
		func() error { return s.Mkdir("d") },
		func() error { return s.Rename("old", "d/new") },
		func() error { return s.Chmod("d/new", 0o4711) },
		func() error { return s.Truncate("d/new", 3) },
		func() error { return s.Chtimes("d/new", when, when) },
		func() error { return s.Symlink("new", "d/link") },
		func() error { return s.Symlink("/d/new", "d/absolute") },
		func() error { return s.Link("d/new", "hard") },
	} {
		if err := step(); err != nil {
			t.Error(err)
		}
	}
	info, err := s.Stat("d/new")
	if err != nil || info.Size() != 3 || info.Mode() != 0o711 || !info.ModTime().Equal(when) {
		t.Errorf("stat: %v, %v; want 3 bytes, mode 0711 without set-user-id, %v", info, err, when)
	}
	if to, err := s.ReadLink("d/absolute"); to != "new" || err != nil {
		t.Errorf("the absolute link says %q, %v; want it relative", to, err)
	}
	if got, err := s.get("d/absolute"); got != "123" || err != nil {
		t.Errorf("through the link: %q, %v", got, err)
	}
	s.put(t, "other", "x")
	if err := s.Rename("other", "hard"); err == nil {
		t.Error("renamed over what exists")
	}
	if err := s.PosixRename("other", "hard"); err != nil {
		t.Errorf("posix-rename over what exists: %v", err)
	}
	var names []string
	infos, err := s.ReadDir("d")
	for _, i := range infos {
		names = append(names, i.Name())
	}
	slices.Sort(names)
	if want := []string{"absolute", "link", "new"}; !slices.Equal(names, want) || err != nil {
		t.Errorf("listed %q, %v; want %q", names, err, want)
	}
	if s.RemoveDirectory("hard") == nil || s.Remove("missing") == nil {
		t.Error("removed a file as a directory, or what isn't there")
	}
	for _, name := range []string{"d/absolute", "d/link", "d/new", "hard"} {
		if err := s.Remove(name); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	if err := s.RemoveDirectory("d"); err != nil {
		t.Errorf("rmdir: %v", err)
	}
}

func TestNothingLeadsOut(t *testing.T) {
	s := serve(t, nil)
	for link, to := range map[string]string{"absolute": s.secret, "relative": "../secret", "up": "..", "twice": "up/secret"} {
		if err := os.Symlink(to, s.path(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(s.path("d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"../secret", "/../secret", "d/../../secret", s.secret, "absolute", "relative", "twice", "up/secret", "d/../relative",
	} {
		if got, err := s.get(path); err == nil {
			t.Errorf("get %s: %q", path, got)
		}
		if _, err := s.Stat(path); err == nil {
			t.Errorf("stat %s: it is seen", path)
		}
		if f, err := s.OpenFile(path, os.O_WRONLY|os.O_TRUNC); err == nil {
			f.Close()
			t.Errorf("put %s: opened", path)
		}
		if err := s.Chmod(path, 0); err == nil {
			t.Errorf("chmod %s: done", path)
		}
		if err := s.Link(path, "stolen"); err == nil && path != "absolute" && path != "relative" && path != "twice" && path != "d/../relative" {
			t.Errorf("link %s: done", path) // a link to a link is a link, and leads nowhere
		}
		s.Remove("stolen")
	}
	if _, err := s.ReadDir("up"); err == nil {
		t.Error("listed the directory above")
	}
	for _, to := range []string{"../secret", "d/../../secret", ".."} {
		if err := s.Symlink(to, "new"); err == nil {
			t.Errorf("symlink to %s: made", to)
		}
	}
	_ = s.Rename("d", "../e") // which is /e
	if _, err := os.Stat(s.path("e")); err != nil {
		t.Errorf("renamed out of the directory: %v", err)
	}
	if got, err := os.ReadFile(s.secret); string(got) != "secret" || err != nil {
		t.Errorf("the secret is %q, %v", got, err)
	}
	if info, err := os.Stat(s.secret); err != nil || info.Mode() != 0o644 {
		t.Errorf("the secret's mode is %v, %v", info, err)
	}
}

func TestWhatHangsIsNotOpened(t *testing.T) {
	s := serve(t, nil)
	if err := syscall.Mkfifo(s.path("fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC} {
		if f, err := s.OpenFile("fifo", flags); err == nil {
			f.Close()
			t.Errorf("a FIFO was opened with %#x", flags)
		}
	}
	if f, err := s.Open("."); err == nil {
		f.Close()
		t.Error("a directory was opened as a file")
	}
}

func TestOwnersStay(t *testing.T) {
	s := serve(t, nil)
	s.put(t, "a", "")
	if err := s.Chown("a", os.Getuid(), os.Getgid()); err == nil {
		t.Error("chown: done")
	}
}

// Who may change the mode of the root could shut out all who have the same.
func TestRootStaysTrusted(t *testing.T) {
	s := serve(t, nil)
	if err := errors.Join(s.Mkdir("d"), s.Symlink("/", "d/link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", ".", "d/..", "d/link", "d/link/d/.."} {
		if err := s.Chmod(path, 0o777); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("chmod %s: got %v, want permission denied", path, err)
		}
	}
	if root, err := sftp.OpenRoot(s.dir); err != nil {
		t.Error(err)
	} else {
		root.Close()
	}
}

func TestLongPathIsNotOnRecord(t *testing.T) {
	s := serve(t, nil)
	long := strings.Repeat("\x01", 100_000)
	for what, err := range map[string]error{
		"open": second(s.Open(long)), "mkdir": s.Mkdir(long), "symlink": s.Symlink(long, "a"), "rename": s.Rename("a", long), "posix-rename": s.PosixRename("a", long),
	} {
		if err == nil {
			t.Errorf("%s: done", what)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) > 0 {
		t.Errorf("on record are %d events", len(s.events))
	}
}

func second[T any](_ T, err error) error { return err }

func TestReadOnlyServesAndChangesNothing(t *testing.T) {
	s := serve(t, func(c *sftp.Config) { c.ReadOnly = true })
	if err := os.WriteFile(s.path("a"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := s.get("a"); got != "hello" || err != nil {
		t.Errorf("get: %q, %v", got, err)
	}
	for what, do := range map[string]func() error{
		"create":   func() error { _, err := s.Create("b"); return err },
		"truncate": func() error { _, err := s.OpenFile("a", os.O_RDWR|os.O_TRUNC); return err },
		"append":   func() error { _, err := s.OpenFile("a", os.O_APPEND|os.O_WRONLY); return err },
		"mkdir":    func() error { return s.Mkdir("d") },
		"remove":   func() error { return s.Remove("a") },
		"rename":   func() error { return s.Rename("a", "b") },
		"posix":    func() error { return s.PosixRename("a", "b") },
		"chmod":    func() error { return s.Chmod("a", 0) },
		"size":     func() error { return s.Truncate("a", 0) },
		"symlink":  func() error { return s.Symlink("a", "b") },
		"link":     func() error { return s.Link("a", "b") },
	} {
		if err := do(); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v, want permission denied", what, err)
		}
	}
	if names, _ := os.ReadDir(s.dir); len(names) != 1 {
		t.Errorf("there are %v now", names)
	}
}

func TestHandlesAreBounded(t *testing.T) {
	s := serve(t, nil)
	s.put(t, "a", "")
	var open []*protocol.File
	for {
		f, err := s.Open("a")
		if err != nil {
			break
		}
		if open = append(open, f); len(open) > 1000 {
			t.Fatal("there is no bound")
		}
	}
	if len(open) != 64 {
		t.Errorf("%d handles were given, want 64", len(open))
	}
	if _, err := s.ReadDir("."); err == nil {
		t.Error("a directory was opened beyond the bound")
	}
	for _, f := range open {
		f.Close()
	}
	if got, err := s.get("a"); err != nil {
		t.Errorf("after they were closed: %q, %v", got, err)
	}
}

func TestWhatIsNotOnRecordDoesNotHappen(t *testing.T) {
	full := errors.New("disk full")
	s := serve(t, func(c *sftp.Config) {
		c.Opened = func(string, string) error { return full }
		c.Changed = func(string, string, string) error { return full }
	})
	if _, err := s.Create("a"); err == nil {
		t.Error("created a file off the record")
	}
	if err := s.Mkdir("d"); err == nil {
		t.Error("made a directory off the record")
	}
	if names, _ := os.ReadDir(s.dir); len(names) != 0 {
		t.Errorf("there are %v now", names)
	}
}

func TestRootMustBeTrusted(t *testing.T) {
	top := t.TempDir()
	good, open := filepath.Join(top, "good"), filepath.Join(top, "open")
	below, link, toOpen := filepath.Join(open, "below"), filepath.Join(top, "link"), filepath.Join(top, "to-open")
	inside := filepath.Join(open, "to-good")
	err := errors.Join(
		os.Mkdir(good, 0o755), os.Mkdir(open, 0o755), os.Mkdir(below, 0o755), os.Chmod(open, 0o777),
		os.Symlink(good, link), os.Symlink(open, toOpen), os.Symlink(good, inside),
		os.WriteFile(filepath.Join(top, "file"), nil, 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		good: "", link: "", open: "chmod go-w", below: "chmod go-w", toOpen: "chmod go-w", inside: "chmod go-w",
		filepath.Join(top, "file"): "not a directory", filepath.Join(top, "none"): "no such file", "relative": "not an absolute path",
	} {
		root, err := sftp.OpenRoot(path)
		if err == nil {
			root.Close()
		}
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q", path, got, want)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(good, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := sftp.OpenRoot(good); err == nil || !strings.Contains(err.Error(), "belongs to user id 65534") {
		t.Errorf("another's directory: %v", err)
	}
}

// A client may write what it wants to be done with a file before it knows that the file is open: the numbers of handles can be guessed.
func TestFileIsOpenBeforeItIsUsed(t *testing.T) {
	const files = 200
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	root, err := sftp.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	said := packet(1, 0, 0, 0, 3)
	for n := range files {
		handle := text(strconv.Itoa(n + 1))
		said = append(said, packet(append(append([]byte{3, 0, 0, 0, 1}, text("a")...), 0, 0, 0, 1, 0, 0, 0, 0)...)...)
		said = append(said, packet(append(append([]byte{5, 0, 0, 0, 1}, handle...), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)...)...)
		said = append(said, packet(append([]byte{4, 0, 0, 0, 1}, handle...)...)...)
	}
	answers := answers{more: make(chan struct{}, 1)}
	if err := sftp.Serve(struct {
		io.Reader
		io.Writer
		io.Closer
	}{bytes.NewReader(said), &answers, io.NopCloser(nil)}, sftp.Config{Root: root}); err != nil {
		t.Fatal(err)
	}
	want, late := packet(103, 0, 0, 0, 1, 0, 0, 0, 1, 'x'), time.After(10*time.Second)
	for got := answers.count(want); got != files; got = answers.count(want) {
		select {
		case <-answers.more: // the last ones come when Serve has returned
		case <-late:
			t.Fatalf("%d of %d reads came too early", files-got, files)
		}
	}
}

// answers are what a server writes.
type answers struct {
	mu   sync.Mutex
	said bytes.Buffer
	more chan struct{}
}

func (a *answers) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case a.more <- struct{}{}:
	default:
	}
	return a.said.Write(p)
}

func (a *answers) count(p []byte) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Count(a.said.Bytes(), p)
}
