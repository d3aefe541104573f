package sftp

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	protocol "github.com/pkg/sftp"
)

// name is the name in the root of a path that the client sees.
func name(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p != "" {
		return p
	}
	return "."
}

// Filecmd changes names and attributes.
func (t *tree) Filecmd(r *protocol.Request) (err error) {
	defer t.recovered(&err)
	if t.ReadOnly {
		return protocol.ErrSSHFxPermissionDenied
	}
	shown, target := r.Filepath, r.Target
	if r.Method == "Symlink" { // in which the library has them the other way
		shown, target = target, shown
	}
	if err := t.changed(strings.ToLower(r.Method), shown, target); err != nil {
		return protocol.ErrSSHFxFailure
	}
	return status(t.change(r))
}

// PosixRename renames a file over another, as rename(2) does (posix-rename@openssh.com).
func (t *tree) PosixRename(r *protocol.Request) (err error) {
	defer t.recovered(&err)
	if t.ReadOnly {
		return protocol.ErrSSHFxPermissionDenied
	}
	if err := t.changed("rename", r.Filepath, r.Target); err != nil {
		return protocol.ErrSSHFxFailure
	}
	return status(t.Root.Rename(name(r.Filepath), name(r.Target)))
}

func (t *tree) change(r *protocol.Request) error {
	at, target := name(r.Filepath), name(r.Target)
	switch r.Method {
	case "Setstat":
		return t.setstat(at, r)
	case "Rename": // section 6.5: not over what exists
		if _, err := t.Root.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, errExists)
		}
		return t.Root.Rename(at, target)
	case "Rmdir":
		if info, err := t.Root.Lstat(at); err != nil || !info.IsDir() {
			return errors.Join(err, errNotDir)
		}
		return t.Root.Remove(at)
	case "Remove":
		if info, err := t.Root.Lstat(at); err != nil || info.IsDir() {
			return errors.Join(err, errNotFile)
		}
		return t.Root.Remove(at)
	case "Mkdir":
		return t.Root.Mkdir(at, 0o777)
	case "Link":
		return t.Root.Link(at, target)
	case "Symlink":
		return t.symlink(r.Filepath, target)
	}
	return protocol.ErrSSHFxOpUnsupported
}

// symlink makes a link to what is inside of the root. An absolute one begins at the root, and is written as a
// relative one, so that it means the same to whoever else looks at the directory.
func (t *tree) symlink(to, link string) error {
	if path.IsAbs(to) {
		relative, err := filepath.Rel(path.Dir("/"+link), path.Clean(to))
		if err != nil {
			return errOutside
		}
		to = relative
	}
	if !filepath.IsLocal(path.Join(path.Dir(link), to)) {
		return errOutside
	}
	return t.Root.Symlink(to, link)
}

// setstat changes what may be changed. Owners stay: whoever runs the program could give files away to anybody, and
// the same holds for bits beyond those of files.
func (t *tree) setstat(at string, r *protocol.Request) error {
	want, attrs := r.AttrFlags(), r.Attributes()
	if attrs == nil {
		return protocol.ErrSSHFxBadMessage
	}
	if want.UidGid {
		return errOwnership
	}
	if want.Size {
		f, err := t.openRegular(at, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Truncate(int64(attrs.Size)), f.Close()); err != nil {
			return err
		}
	}
	if want.Permissions {
		// Were it writable by others, it would serve nobody any more: see OpenRoot.
		if itself, err := t.isRoot(at); itself || err != nil {
			return errors.Join(err, fs.ErrPermission)
		}
		if err := t.Root.Chmod(at, attrs.FileMode().Perm()); err != nil {
			return err
		}
	}
	if want.Acmodtime {
		return t.Root.Chtimes(at, attrs.AccessTime(), attrs.ModTime())
	}
	return nil
}

// isRoot reports whether a name, perhaps through links, is the root itself.
func (t *tree) isRoot(at string) (bool, error) {
	info, err := t.Root.Stat(at)
	if err != nil {
		return false, err
	}
	root, err := t.Root.Stat(".")
	return err == nil && os.SameFile(info, root), err
}
