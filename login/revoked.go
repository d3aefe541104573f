package login

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/culvert-ssh/culvert/krl"
)

// maxRevoked bounds a file of revoked keys, in bytes.
const maxRevoked = 64 << 20

// loadRevoked reads the files of RevokedHostKeys. As with ssh(1), nobody is trusted if one can't be read.
func loadRevoked(files []string) ([]*krl.List, error) {
	var lists []*krl.List
	for _, file := range files {
		list, err := readRevoked(file)
		if err != nil {
			return nil, fmt.Errorf("RevokedHostKeys %q: %w: whoever it revokes would be trusted", file, err)
		}
		lists = append(lists, list)
	}
	return lists, nil
}

func readRevoked(file string) (list *krl.List, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxRevoked+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxRevoked:
		return nil, fmt.Errorf("it is over %d bytes", maxRevoked)
	}
	return krl.Parse(data)
}
