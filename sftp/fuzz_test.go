package sftp_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/culvert-ssh/culvert/sftp"
)

// words is a client that says what it says, and reads nothing.
type words struct{ io.Reader }

func (words) Write(p []byte) (int, error) { return len(p), nil }
func (words) Close() error                { return nil }

// packet frames a payload.
func packet(payload ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func text(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }

// FuzzServe: whatever a client says, nothing panics, and nothing outside of the root changes.
func FuzzServe(f *testing.F) {
	open := append(append([]byte{3, 0, 0, 0, 1}, text("../secret")...), 0, 0, 0, 0x1a, 0, 0, 0, 0)
	f.Add(bytes.Join([][]byte{packet(1, 0, 0, 0, 3), packet(open...), packet(append([]byte{4, 0, 0, 0, 2}, text("1")...)...)}, nil))
	f.Add(packet(append(append([]byte{9, 0, 0, 0, 1}, text("a")...), 0xff, 0xff, 0xff, 0xff)...))
	f.Add(packet(append(append(append([]byte{20, 0, 0, 0, 1}, text("../secret")...), text("x")...), 0)...))
	f.Add(packet(append([]byte{200, 0, 0, 0, 1}, text("posix-rename@openssh.com")...)...))
	f.Fuzz(func(t *testing.T, said []byte) {
		top := t.TempDir()
		secret, dir := filepath.Join(top, "secret"), filepath.Join(top, "served")
		if os.WriteFile(secret, []byte("secret"), 0o600) != nil || os.Mkdir(dir, 0o755) != nil {
			t.Fatal("no files")
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		_ = sftp.Serve(words{bytes.NewReader(said)}, sftp.Config{Root: root})
		if got, err := os.ReadFile(secret); string(got) != "secret" || err != nil {
			t.Errorf("the secret is %q, %v", got, err)
		}
		if names, err := os.ReadDir(top); len(names) != 2 || err != nil {
			t.Errorf("beside the directory are %v, %v", names, err)
		}
	})
}
