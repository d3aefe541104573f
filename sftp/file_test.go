package sftp

import (
	"os"
	"path/filepath"
	"testing"

	protocol "github.com/pkg/sftp"
)

// The library calls an open that truncates or creates no read. If it did, nothing would come of it.
func TestReadingNeitherCreatesNorTruncates(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files := &tree{Config: Config{Root: root, ReadOnly: true}}
	for _, name := range []string{"/old", "/new"} {
		r := protocol.NewRequest("Get", name)
		r.Flags = 0x01 | 0x08 | 0x10 // read, create, truncate: draft-ietf-secsh-filexfer-02, section 6.3
		if f, err := files.Fileread(r); err == nil {
			f.(*file).Close()
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "old")); string(text) != "text" {
		t.Errorf("the file is %q now (%v)", text, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "new")); err == nil {
		t.Error("a file was made")
	}
}
