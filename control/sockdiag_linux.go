package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The wire structs of sock_diag(7), as offsets into a request and its answer. Numbers are in the machine's byte
// order, ports and addresses in the network's.
//
//	struct nlmsghdr         u32 len, u16 type, u16 flags, u32 seq, u32 pid
//	struct inet_diag_req_v2 u8 family, u8 protocol, u8 ext, u8 pad, u32 states, struct inet_diag_sockid
//	struct inet_diag_msg    u8 family, u8 state, u8 timer, u8 retrans, struct inet_diag_sockid,
//	                        u32 expires, u32 rqueue, u32 wqueue, u32 uid, u32 inode
//	struct inet_diag_sockid be16 sport, be16 dport, be32 src[4], be32 dst[4], u32 if, u32 cookie[2]
const (
	diagHeader  = 16
	diagSockID  = 48
	diagRequest = diagHeader + 8 + diagSockID
	diagAnswer  = diagHeader + 4 + diagSockID + 20

	diagRequestID = diagHeader + 8 // where the sockid is
	diagAnswerID  = diagHeader + 4
	diagUID       = diagAnswerID + diagSockID + 12
	diagInode     = diagUID + 4
)

// diagTimeout is how long the kernel may take for an answer; it gives it within the system call.
const diagTimeout = 1 // second

// askKernel returns the uid of the open socket that is connected from local to remote, or -1 if there is
// none.
func askKernel(local, remote netip.AddrPort) (uid int, err error) {
	request := diagQuestion(local, remote)
	answer, err := diagAsk(request)
	if err != nil {
		return -1, err
	}
	return diagOwner(answer, request), nil
}

// askKernelForListener returns the uid of the listening socket that the kernel would give a connection from the address from
// to at to, or -1 if there is none. It looks for a socket as it does for a segment that has arrived.
func askKernelForListener(at netip.AddrPort, from netip.Addr) (uid int, err error) {
	answer, err := diagAsk(diagQuestion(at, netip.AddrPortFrom(from, 0)))
	if err != nil {
		return -1, err
	}
	return diagListener(answer, at), nil
}

func diagAsk(request []byte) (answer []byte, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("ask the kernel for a socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagTimeout}); err != nil {
		return nil, fmt.Errorf("ask the kernel for a socket: %w", err)
	}
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("ask the kernel for a socket: %w", err)
	}
	answer = make([]byte, 4<<10)
	n, from, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return nil, fmt.Errorf("ask the kernel for a socket: %w", err)
	}
	if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
		return nil, errors.New("ask the kernel for a socket: somebody else answered")
	}
	return answer[:n], nil
}

func diagQuestion(local, remote netip.AddrPort) []byte {
	b := make([]byte, diagRequest)
	binary.NativeEndian.PutUint32(b, diagRequest)
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	b[diagHeader], b[diagHeader+1] = unix.AF_INET, unix.IPPROTO_TCP
	if local.Addr().Is6() {
		b[diagHeader] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(b[diagHeader+4:], ^uint32(0)) // in whatever state
	id := b[diagRequestID:]
	binary.BigEndian.PutUint16(id, local.Port())
	binary.BigEndian.PutUint16(id[2:], remote.Port())
	copy(id[4:20], local.Addr().AsSlice())
	copy(id[20:36], remote.Addr().AsSlice())
	binary.NativeEndian.PutUint64(id[40:], ^uint64(0)) // we know no cookie
	return b
}

// diagOwner reads the answer to request. The kernel may answer with a listener that has the port, or with what is
// left of a closed socket; neither has the owner that we look for.
func diagOwner(answer, request []byte) int {
	if !diagTells(answer) {
		return -1
	}
	local, remote := diagAddresses(answer[diagHeader], answer[diagAnswerID:])
	wantLocal, wantRemote := diagAddresses(request[diagHeader], request[diagRequestID:])
	if local != wantLocal || remote != wantRemote {
		return -1
	}
	return int(binary.NativeEndian.Uint32(answer[diagUID:]))
}

// diagListener reads the answer to a question for who listens at at. The socket may listen on all addresses.
func diagListener(answer []byte, at netip.AddrPort) int {
	if !diagTells(answer) || answer[diagHeader+1] != stateListen {
		return -1
	}
	local, _ := diagAddresses(answer[diagHeader], answer[diagAnswerID:])
	if local.Port() != at.Port() || local.Addr() != at.Addr() && !local.Addr().IsUnspecified() {
		return -1
	}
	return int(binary.NativeEndian.Uint32(answer[diagUID:]))
}

// diagTells reports whether answer tells of a socket that is open.
func diagTells(answer []byte) bool {
	return len(answer) >= diagAnswer && binary.NativeEndian.Uint16(answer[4:]) == unix.SOCK_DIAG_BY_FAMILY &&
		binary.NativeEndian.Uint32(answer[diagInode:]) != 0
}

// diagAddresses reads a struct inet_diag_sockid. An IPv6 socket may be connected over IPv4.
func diagAddresses(family byte, id []byte) (local, remote netip.AddrPort) {
	size := 4
	if family == unix.AF_INET6 {
		size = 16
	}
	src, _ := netip.AddrFromSlice(id[4 : 4+size])
	dst, _ := netip.AddrFromSlice(id[20 : 20+size])
	return netip.AddrPortFrom(src.Unmap(), binary.BigEndian.Uint16(id)),
		netip.AddrPortFrom(dst.Unmap(), binary.BigEndian.Uint16(id[2:]))
}
