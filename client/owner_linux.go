package client

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
	// proc_net_tcp in the kernel's documentation.
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(table)
		if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(table, "6") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return 0, fmt.Errorf("find the owner of a connection: %w", err)
		}
		uid, err := findSocket(f, client, hop)
		_ = f.Close() // it was only read
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", table, err)
		}
		if uid >= 0 {
			return uid, nil
		}
	}
	return 0, fmt.Errorf("no program on this machine has a connection from %s to %s any more", client, hop)
}

// findSocket looks for the row of an open socket and returns its uid, or -1. The row of a socket that its
// program has closed says uid 0 and inode 0, whoever it was, so it counts for nothing.
func findSocket(table io.Reader, local, remote netip.AddrPort) (int, error) {
	rows := bufio.NewScanner(table)
	for rows.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...
		fields := strings.Fields(rows.Text())
		if len(fields) < 10 || parseRowAddress(fields[1]) != local || parseRowAddress(fields[2]) != remote || fields[9] == "0" {
			continue
		}
		uid, err := strconv.ParseUint(fields[7], 10, 31)
		if err != nil {
			return -1, fmt.Errorf("uid %q: %w", fields[7], err)
		}
		return int(uid), nil
	}
	return -1, rows.Err()
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
