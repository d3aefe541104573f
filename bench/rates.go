package main

import (
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// rateOf returns at how many MB/s f moves so many bytes.
func rateOf(size int64, f func() error) (float64, error) {
	begin := time.Now()
	if err := f(); err != nil {
		return 0, err
	}
	return float64(size) / 1e6 / time.Since(begin).Seconds(), nil
}

// rateAndCPU returns the rate in MB/s, and the CPU seconds a GB of client and server.
func (c *contender) rateAndCPU(size int64, f func() error) ([]float64, error) {
	names := append(slices.Clone(c.client), c.server)
	before, err := cpuOf(names...)
	if err != nil {
		return nil, err
	}
	rate, err := rateOf(size, f)
	if err != nil {
		return nil, err
	}
	after, err := cpuOf(names...)
	if err != nil {
		return nil, err
	}
	gb := float64(size) / 1e9
	var client float64
	last := len(c.client)
	for i := range last {
		client += after[i] - before[i]
	}
	return []float64{rate, client / gb, (after[last] - before[last]) / gb}, nil
}

// atOnce runs f n times at once.
func atOnce(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// shared runs f n times altogether, by some workers at once.
func shared(n, workers int, f func(i int) error) error {
	return atOnce(workers, func(worker int) error {
		for i := worker; i < n; i += workers {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	})
}

// openAndTouch opens a channel, and moves a byte there and back.
func (c *contender) openAndTouch() error {
	conn, err := c.dial(c.echo)
	if err != nil {
		return err
	}
	return errors.Join(touch(conn), conn.Close())
}

func touch(conn io.ReadWriter) error {
	one := []byte{1}
	if _, err := conn.Write(one); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, one)
	return err
}

// pingBesideBulk moves a byte there and back again and again, while a download runs as fast as it can, and returns the median and the 99th
// percentile in milliseconds.
func (c *contender) pingBesideBulk(n int) ([]float64, error) {
	bulk, err := c.ask(endless)
	if err != nil {
		return nil, err
	}
	defer bulk.Close()
	flows := make(chan error, 1)
	go func() { // ends with bulk
		b := make([]byte, block)
		_, err := io.ReadFull(bulk, b) // it has begun
		for flows <- err; err == nil; {
			_, err = bulk.Read(b)
		}
	}()
	if err := <-flows; err != nil {
		return nil, err
	}
	conn, err := c.dial(c.echo)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	took := make([]float64, n)
	for i := range took {
		begin := time.Now()
		if err := touch(conn); err != nil {
			return nil, err
		}
		took[i] = float64(time.Since(begin).Nanoseconds()) / 1e6
	}
	slices.Sort(took)
	return []float64{median(took), took[n*99/100]}, nil
}

// loginMany logs in n times, some at once, with a client that is the same for all servers, and returns how many logins that were a second, and
// how many milliseconds of CPU the server used for each.
func (c *contender) loginMany(n, workers int) ([]float64, error) {
	before, err := c.serverCPU()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := shared(n, workers, func(int) error {
		conn, err := ssh.Dial("tcp", c.sshd.String(), c.login)
		if err != nil {
			return err
		}
		return conn.Close()
	}); err != nil {
		return nil, err
	}
	rate := float64(n) / time.Since(begin).Seconds()
	after, err := c.serverCPU()
	return []float64{rate, (after - before) * 1e3 / float64(n)}, err
}

// serverCPU is what the server has used, in seconds, its processes that have ended included: sshd's are our children, and there are no others
// that end while this is measured.
func (c *contender) serverCPU() (float64, error) {
	var ended syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ended); err != nil {
		return 0, err
	}
	running, err := cpuOf(c.server)
	if err != nil {
		return 0, err
	}
	return running[0] + time.Duration(ended.Utime.Nano()+ended.Stime.Nano()).Seconds(), nil
}
