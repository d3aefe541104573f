package control

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// socketUID returns the uid of the program on this machine that connected from client to hop. It asks the kernel
// for that one socket (sock_diag(7)), and only where that tells nothing, it reads the tables of all sockets: with
// thousands of them that takes longer than a small upload, and a socket that its program has closed has no owner any more.
func socketUID(client, hop netip.AddrPort) (int, error) {
	client, hop = withoutZone(client), withoutZone(hop) // the kernel's answers have none
	if uid, err := askKernel(client, hop); err == nil && uid >= 0 {
		return uid, nil
	}
	uid := -1
	err := readTables(func(r row) bool {
		if r.local == client && r.remote == hop {
			uid = r.uid
		}
		return uid < 0
	})
	switch {
	case err != nil:
		return 0, err
	case uid < 0:
		return 0, fmt.Errorf("no program on this machine has a connection from %s to %s any more", client, hop)
	}
	return uid, nil
}

// listenerUID returns the uid of the program on this machine that a connection from the local address from to at would come to.
func listenerUID(at netip.AddrPort, from netip.Addr) (int, error) {
	at, from = withoutZone(at), from.WithZone("")
	if uid, err := askKernelForListener(at, from); err == nil && uid >= 0 {
		return uid, nil
	}
	return listenerInTables(at)
}

// takenUID returns the uid of the program on this machine that has taken the connection from the address from to at. As long as none has,
// the connection is nobody's, and the tables, which take so long to read, know no more than the kernel.
func takenUID(at, from netip.AddrPort) (int, error) {
	uid, err := askKernel(withoutZone(at), withoutZone(from))
	switch {
	case err != nil:
		return socketUID(at, from)
	case uid < 0:
		return 0, fmt.Errorf("no program on this machine has taken the connection from %s to %s", from, at)
	}
	return uid, nil
}

func listenerInTables(at netip.AddrPort) (int, error) {
	uid := -1
	err := readTables(func(r row) bool {
		if r.state != stateListen || r.local.Port() != at.Port() || r.local.Addr() != at.Addr() && !r.local.Addr().IsUnspecified() {
			return true
		}
		if uid >= 0 && uid != r.uid { // one is for IPv4 and one for IPv6, say
			uid = -1
			return false
		}
		uid = r.uid
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case uid < 0:
		return 0, fmt.Errorf("it can't be told which program on this machine waits at %s", at)
	}
	return uid, nil
}

// stateListen is TCP_LISTEN of the kernel.
const stateListen = 10

// row is an open socket in the kernel's tables.
type row struct {
	local, remote netip.AddrPort
	state         uint64
	uid           int
}

// readTables shows the rows of all open sockets (proc_net_tcp in the kernel's documentation), until it is told that it's enough.
func readTables(more func(row) bool) error {
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(table)
		if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(table, "6") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return fmt.Errorf("find the owner of a socket: %w", err)
		}
		enough := false
		err = readTable(f, func(r row) bool { enough = !more(r); return !enough })
		_ = f.Close() // it was only read
		if err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
		if enough {
			return nil
		}
	}
	return nil
}

// readTable shows the rows of open sockets. The row of a socket that its program has closed says uid 0 and inode 0, whoever it
// was, so it counts for nothing.
func readTable(table io.Reader, more func(row) bool) error {
	rows := bufio.NewScanner(table)
	for rows.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...
		fields := strings.Fields(rows.Text())
		if len(fields) < 10 || fields[9] == "0" {
			continue
		}
		r := row{local: parseRowAddress(fields[1]), remote: parseRowAddress(fields[2])}
		if !r.local.IsValid() { // the head of the table
			continue
		}
		uid, err := strconv.ParseUint(fields[7], 10, 31)
		if err != nil {
			return fmt.Errorf("uid %q: %w", fields[7], err)
		}
		if r.state, err = strconv.ParseUint(fields[3], 16, 8); err != nil {
			return fmt.Errorf("state %q: %w", fields[3], err)
		}
		r.uid = int(uid)
		if !more(r) {
			return nil
		}
	}
	return rows.Err()
}

// parseRowAddress reads "0100007F:1F90": an address as 32-bit words in the byte order of the machine, in
// hexadecimal, and a port. What it can't read is not a valid AddrPort.
func parseRowAddress(s string) netip.AddrPort {
	hexAddr, hexPort, _ := strings.Cut(s, ":")
	words, err := hex.DecodeString(hexAddr)
	port, portErr := strconv.ParseUint(hexPort, 16, 16)
	if err != nil || portErr != nil || len(words)%4 != 0 {
		return netip.AddrPort{}
	}
	for i := 0; i < len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	addr, ok := netip.AddrFromSlice(words)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port))
}

func withoutZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

// distinct returns an error if uid may stand for several users (user_namespaces(7), "Unmapped user and group IDs").
func distinct(uid int) error {
	mapping, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return fmt.Errorf("find out which users this process can tell apart: %w", err)
	}
	unmapped, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil { // /proc may be there for processes only
		unmapped = []byte("65534")
	}
	return distinctIn(uid, string(mapping), string(unmapped))
}

// distinctIn is distinct in a namespace with the contents of uid_map and overflowuid.
func distinctIn(uid int, mapping, unmapped string) error {
	if strings.TrimSpace(unmapped) != strconv.Itoa(uid) || mapsAll(mapping) {
		return nil
	}
	return fmt.Errorf("uid %d stands for all users that are not mapped into the user namespace of this process: run it outside of one (without PrivateUsers= in its unit)", uid)
}

// mapsAll reports whether a /proc/self/uid_map maps every uid, as the namespace does in which the system has started.
func mapsAll(mapping string) bool {
	fields := strings.Fields(mapping) // first inside, first outside, how many
	return len(fields) == 3 && fields[0] == "0" && fields[2] == strconv.FormatUint(1<<32-1, 10)
}
