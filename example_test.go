package nat_test

import (
	"context"
	"fmt"
	"log"

	"nat"
	"nat/dataset"
)

// Train on a folder of photographs and print the embeddings of its first rows.
func Example() {
	if err := trainAndEmbed(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func trainAndEmbed(ctx context.Context) error {
	sum, err := nat.Train(ctx, nat.Options{Data: "photos", Out: "run"}, nil)
	if err != nil {
		return err
	}
	run, err := nat.OpenRun(sum.Run)
	if err != nil {
		return err
	}
	model, err := run.Model(0)
	if err != nil {
		return err
	}
	defer model.Close()
	set, err := model.OpenData(ctx, "photos", dataset.Options{})
	if err != nil {
		return err
	}
	defer set.Close()
	rows := []int{0, 1, 2}
	return model.Embed(ctx, set, rows, "embedding", func(rows []int, z []float32, width int) error {
		for i, row := range rows {
			fmt.Println(set.ID(row), z[i*width:(i+1)*width])
		}
		return nil
	}, nil)
}
