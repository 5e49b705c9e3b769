// Reads a topic and decodes its values: once, then prints "ready" with the first records, and goes on after a line of input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

type received struct {
	Service        string  `json:"service"`
	AverageLatency float64 `json:"avg_latency"`
	Count          uint64  `json:"count"`
	Detail         string  `json:"detail"`
}

var sum uint64

func main() {
	records, err := strconv.Atoi(os.Args[4])
	check(err)
	read(os.Args[3]+"-1", records, false)
	read(os.Args[3]+"-2", records, true)
}

func read(group string, records int, measured bool) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Args[1]),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(os.Args[2]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	check(err)
	defer client.Close()
	waits := measured
	for n := 0; n < records; {
		fetches := client.PollFetches(context.Background())
		for _, failed := range fetches.Errors() {
			check(failed.Err)
		}
		if waits && fetches.NumRecords() > 0 {
			waits = false
			fmt.Println("ready")
			_, err := bufio.NewReader(os.Stdin).ReadString('\n')
			check(err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			var value received
			check(json.Unmarshal(record.Value, &value))
			sum += value.Count
			n++
		})
	}
	if measured {
		fmt.Println("done")
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
