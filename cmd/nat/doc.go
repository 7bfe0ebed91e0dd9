// Nat learns representations of images and vectors without labels, by predicting noise: every row of the data owns a
// random point on a sphere, an encoder learns to send the row there, and the pairing of rows with points is re-assigned
// while it learns. What comes out is one unit vector for each row.
//
//	nat quickstart
//	nat train photos --out run
//	nat embed run photos -o photos.parquet
//
// Results go to stdout; progress, warnings and hints go to stderr. On a terminal the progress is one line that redraws
// itself; elsewhere, or with NO_COLOR or TERM=dumb, it is a plain line every ten seconds and at the end of each epoch.
//
// # Flags of every command
//
//	--json        print exactly one JSON object on stdout: the result, or {"error": {"kind", "message", "exit_code"}}
//	-q, --quiet   no progress and no hints: only results and errors
//	-h, --help    the command's flags and their defaults
//
// # Exit codes
//
//	0    done
//	1    failed at run time, or a bug in nat (NAT_DEBUG=1 then shows where)
//	2    the command line is wrong, or would destroy something
//	3    the input data were rejected
//	4    a run or one of its files is damaged, or does not fit the request
//	5    disk, memory or a lock is missing
//	130  stopped by SIGINT (Ctrl-C); training has saved a checkpoint
//	143  stopped by SIGTERM; training has saved a checkpoint
//
// The first signal lets the step in progress finish and saves; a second one ends the program at once.
//
// # Data
//
// DATA is a path, and its format is recognised: a folder of images (any tree; PNG, JPEG, GIF, BMP, TIFF, WebP; the first
// directory level is the class, if there is one), a folder with the MNIST family's IDX files (plain or .gz), a folder or
// archive with the CIFAR-10 or CIFAR-100 binary files, an .npy or .npz array of N vectors or N images. "digits:" is the
// data of the quickstart. Every row keeps its identity, its path or its index, in every output.
//
// # nat quickstart
//
//	nat quickstart [--out RUN] [--seed 1] [--workers N]
//
// Train on handwritten digits that are part of the program, probe the result beside raw pixels, their principal
// components and the same network untrained, with 10 labels a class and with all, and write a run directory with a
// report.html. A second call takes the next free name.
//
// # nat train
//
//	nat train DATA [--out RUN] [--dry-run] [flags]
//	nat train --resume --out RUN
//
// Train an encoder. Everything that is not given is chosen from the data, and --dry-run prints the choice with an
// estimate of memory, disk and time. A run that exists is neither continued nor replaced unless --resume or --overwrite
// says so. --resume takes its options from the run and continues bit for bit; --max-time 2h saves and stops after two
// hours; --init RUN starts from another run's weights with fresh targets.
//
// --encoder names a network; what it has between features (for images what the convolutions leave) and the embedding, the
// projection head, is one hidden layer of 256 units in convnet, of 1024 in dcgan32, two of 4096 in alexnet, and none in the others.
// --projection puts other hidden layers there: 1024,512 are two, none is a linear map. Features are often better read than the
// embedding, and a head changes both; nat eval reads any layer. --sobel shows the encoder edges and no colours, as alexnet does.
//
// --augment is how much views differ from their row: auto, weak, strong, or none, which trains on every row as it is. What they
// stand for depends on the data (vectors, images of at most 16 pixels, grey images, colour images, photographs); --dry-run and
// nat info print it, as entries that can be given one by one, alone (against auto) or after a strength: --augment strong,hue=0.
//
//	crop_min, crop_max      least and largest share of the area that a view shows (crop_max=0: no crops)
//	crop_ratio              1 to 4, how much wider or higher than the image that part may be
//	flip                    probability of a mirror image
//	rotate, shift           largest angle in degrees, largest displacement as a share of the side
//	jitter                  probability that the next four change anything
//	brightness, contrast, saturation    x: a factor from 1-x to 1+x; saturation, hue and grey are for colour images
//	hue                     largest turn of the colour circle, in turns
//	grey                    probability that a colour image turns grey
//	noise, mask             of vectors: deviation of noise in standard deviations, probability that a feature becomes its mean
//
// --objective chooses what is learned from, with everything else the same: nat, noise as targets; infomax, information through
// --noise; infonce, telling views of a row from those of others, with --temperature; align-uniform, views of a row together
// and rows apart, with --uniformity-weight; exemplar, a class for each of --surrogates rows; vae, restoring
// the views from noisy codes by a decoder that mirrors the encoder, where --beta weighs what codes may tell; and supervised,
// which reads the labels, as a ceiling.
//
// --loss says how nat pulls rows to targets. sinkhorn, the default, pulls all rows of a batch to all its targets: by the
// entropic distance between the two at --temperature, less what a set has to itself, which pushes rows apart; beside it, with a
// weight of 1 against --uniformity-weight, views of a row are pulled together. square pulls a row to its own target alone; it is
// the default where a pairing is asked for (--match, --assign pool or global, --targets discrete) or there is one view. With a
// --temperature, its target is the mean of those of the batch, weighed by a plan; --final-temperature is that of the end of
// training, from soft to hard. softmax has the row find its target among the batch's. --targets are uniform, even, discrete (the
// canonical basis, over and over), or fresh in every batch. --match pairs a row by the mean of its views, by one view, or by a
// moving average over the epochs.
//
// --clip shortens gradients longer than that to it: the first ones of --loss sinkhorn, when all rows still lie on one side of the
// sphere, would throw the rows into one point, from which they part but slowly.
//
// Every step re-pairs the rows of its batch with their targets. --assign pool also re-pairs several batches at once, and
// --assign global the whole data set, exactly, every --assign-every epochs; without global that flag leaves batches
// as they are but in the first of so many epochs. --winograd=false forbids convolutions
// that save multiplications and round a little more. Progress says how much of the time training waits for data, if it
// does, and a warning what helps when that is a fifth or more: for photographs a larger --cache.
//
// JSON: run, objective, steps, epochs, seconds, images_per_second, wait, gauge_share, loss, information, chance, reassigned, assignment_gap,
// cosine, level, checkpoint, complete, train, held_out, warnings; null is what the objective does not have.
//
// # nat embed
//
//	nat embed RUN DATA -o OUT [--layer embedding] [--split all] [--overwrite]
//
// Write one vector for each row of DATA, with its identity and its class. The extension of OUT chooses the format: .npy
// (identities in OUT.ids.txt beside it), .csv (columns id, label, e0, e1, ...), .parquet (columns id, label, embedding) or
// .safetensors (tensors embedding, ids, labels). OUT appears only when it is whole. Of a run of objective vae the
// embedding is the normalised mean; --layer mean is that as it is, and --layer posterior all means, then all log variances.
//
// JSON: run, data, out, ids, layer, split, rows, dim, bad_files, seconds.
//
// # nat eval
//
//	nat eval RUN [DATA] [--probes knn,linear,mlp] [--layers embedding,features] [--labels FILE] [--per-class 10,100] [--baselines=false]
//
// Measure what the representation keeps, with labels: the accuracy of probes on the run's layers (run), on the same
// network untrained (random), on as many principal components (pca) and on the input (raw). The last three are the same for
// several runs of one encoder, but for the seed of the untrained one; --baselines=false leaves them out.
//
// --layers names layers that nat info lists, or: embedding; features, what the last convolutions leave (the last hidden layer of
// a network without any); and as in published tables conv, the last convolution, and fc, the first hidden dense layer, both after
// batch norm and ReLU, and output, the embedding. --layers all is every layer in order, without those that change no value
// outside training (flatten, dropout).
//
// Probes that are fitted to the training rows and tested on the test rows: knn, the vote of the 20 nearest by cosine,
// weighted by exp(cosine/0.07), and knn200, that of 200; linear, a logistic regression, and svm, a linear support vector
// machine with the squared hinge, both with a penalty chosen on training rows; mlp, one hidden layer of 200 units with
// batch norm and dropout 0.1, whose accuracy is the mean over the last tenth of its epochs (mlp_epochs: how many of them
// were tested, 5 at most). With --per-class they are also fitted to so many rows of each class, 5 draws: the mean, and
// half the width of its 95 % interval by Student's t.
//
// Probes that are not fitted: retrieval, where up to 1,000 test rows spread over all of them search the training rows by
// cosine (mean average precision with its standard error; recall, the share of queries with a row of their class among
// the 1, 5, 10 nearest); clusters, spherical k-means of up to 10,000 test rows with as many clusters as classes, the best
// of 8 starts by its own mean cosine, without labels (normalised mutual information, adjusted Rand index, and accuracy
// under the best matching of clusters with classes). docs/math.md has the formulas, (60) to (66).
//
// Probes without labels, in a table of their own: neighbours, where up to 1,000 rows of the test split or, if there is none,
// of all rows, chosen by --seed, search the training rows, or all the other rows: the share of the 10 nearest in the original
// space, that of the rows as DATA has them, that are among the 10 nearest by cosine in the code, with its standard error, and the
// share of queries whose nearest row is; nearest in the original space by cosine, and by Euclidean distance for data whose lengths
// matter. information: what the code, on the unit sphere and through noise, says about which of up to 4,096 rows it is of, and its
// share of what uniform points say (docs/math.md, (67)). Their rows are the run's layers, the untrained network, and of as many
// dimensions as the embedding: pca, principal components of the original rows; pca-whitened, these divided by their deviations;
// projection, a random subspace; pca-lengths and projection-lengths, the same compared by Euclidean distance, not on the sphere; and
// pca-directions, components of the rows of unit length about 0.
//
// JSON: run, checkpoint, data, train_rows, test_rows, classes, rows[]{name, layer, dim, knn, knn200, linear, svm, mlp, mlp_epochs,
// retrieval{queries, map, map_error, recall_1, recall_5, recall_10}, clusters{k, rows, cosine, nmi, ari, accuracy}} with
// what was asked for, warnings, and with --per-class few_labels[]{labels_per_class, draws, rows[]}, whose rows have
// half_width{} by the name of the probe. Probes without labels: codes{searched, queries, measured, rows[]{name, layer, dim,
// neighbours{cosine{}, distance{}} of recall_10, error, nearest_10, information{noise, nats, error, uniform, efficiency, recovered}}}.
//
// # nat report
//
//	nat report RUN [DATA] [-o OUT.html] [--eval FILE,...] [--pictures DIR] [--labels FILE] [--seed 1]
//
// Draw RUN/report.html anew, one page that loads nothing: the curves of training, and of DATA (the run's own, when left
// out) a map, ten rows beside the rows nearest to them by embedding and by raw pixels, and for a vae what its decoder
// restores. Those rows are drawn from the test split or, where there is none, from the rows held out of training, another
// ten with another --seed, and as evenly from the classes as can be. The filters of the first layer stand beside those of
// the same network untrained. nat train draws the same page at its end, without the test split.
//
// The tables of probes, with the accuracy along the layers if three or more were probed, are of the files named with --eval,
// each the JSON of nat eval, or of RUN/eval.json: nat eval RUN --json > RUN/eval.json. A warning tells if they are of
// another checkpoint. --pictures also writes neighbours.png, filters.png and restored.png, as far as the run has them.
//
// JSON: run, data, report, pictures[], warnings[], evals[], seconds.
//
// # nat measure
//
//	nat measure Z.npy [--noise 0.05,0.1,0.2,0.5] [--report OUT.html] [--pairs 99] [--seed 1]
//	nat measure RUN DATA [--split all] [--layer embedding] [--limit 0] [--noise 0.1,0.2] [--report OUT.html]
//
// Measure without labels how uniform embeddings are on the sphere and how much information they keep: the rows of any .npy
// matrix, or what a run makes of DATA. Rows are divided by their norms, with a warning if they are not unit vectors. A row
// that is zero or not finite is refused by name, with exit code 3, and so are fewer than two rows.
//
// Uniformity. wasserstein.value is the mean squared distance to fresh uniform targets under the best pairing, over at
// least 8 draws of targets; of more than 2048 rows, over disjoint random blocks of 2048. It depends on the number of rows:
// read it beside null_mean and null_sd, what one uniform sample of a block has, by null_method (cavity: an equation, from 32
// dimensions on; table; monte carlo: simulated now), or as score, 1 for uniform rows and 0 for a single point. p_value is
// exact, against --pairs simulated samples. The other gauges stand beside the range of some uniform samples of the same size.
//
// Information. At each --noise, the nats of which row it was that a noisy copy of its embedding keeps, never above ceiling_nats =
// log N: beside that of a uniform sample (efficiency is the ratio) and the capacity of the sphere for any number of rows.
// recovered is the share of the noisy copies that are nearest to their own row. Only values at equal N compare.
//
// --report writes a page that loads nothing: the spectrum, the information against its ceiling and capacity, the null bands.
//
// JSON: n, dim, wasserstein{value, stderr, block, draws, null_mean, null_sd, null_method, score, p_value}, rayleigh{statistic,
// dof}, bingham{statistic, dof}, wang_isola, effective_rank, rank, nearest, sliced_wasserstein, uniform{samples, wang_isola,
// effective_rank, nearest, sliced_wasserstein: [least, largest]}, information[]{noise, nats, stderr, recovered, ceiling_nats,
// uniform_nats, capacity_nats, efficiency}, warnings, report, seconds.
//
// # nat infomax
//
//	nat infomax capacity [--dim 2,3,8,16,64,128] [--noise 0.05,0.1,0.2,0.5,1]
//	nat infomax linear [--n 4000] [--dim 8] [--inputs 32] [--noise 0.2] [--ratio 1,1.2,1.5,2,5,20] [--maps 5] [--seed 1]
//	nat infomax stochastic [--n 4000] [--dim 8] [--noise 0.3] [--kappa 1000,300,100,30,10,3,0] [--seed 1]
//	nat infomax bounds [Z.npy] [--n 1000] [--dim 16] [--noise 0.2] [--steps 25,100,400,1600] [--seed 1]
//	nat infomax twist [Z.npy --labels FILE] [--noise 0.15] [--strengths 0,0.1,0.2,0.4,0.8,1.6] [--rounds 8] [--svg OUT.svg]
//
// The claims of the theory as experiments. capacity: the most nats that any encoder to the sphere keeps through noise, with a
// relative error below 1e-6. linear: normal data under random linear maps; with equal singular values the points are
// uniform and keep what uniform points keep, otherwise less. stochastic: a von Mises-Fisher head beside a deterministic encoder of the
// same, uniform, marginal; it keeps less by the price h(Z~|x) - h(noise). bounds: what InfoNCE and a trained decoder see of the
// information. twist: uniform points with classes, or labelled embeddings, entangled by a map that keeps volumes: the
// information stays, and probes lose the classes. Findings: docs/results/infomax.md.
//
// JSON: capacity: noise, rows[]{dim, capacity_nats[], gaussian_bound_nats[]}. linear: n, dim, inputs, noise, maps, ceiling_nats,
// capacity_nats, wasserstein_block, wasserstein_null, rows[]{ratio (0: uniform points), nats, sd, less, less_stderr, efficiency,
// wasserstein, wasserstein_sd, effective_rank}. stochastic: n, dim, noise, ceiling_nats, capacity_nats, rows[]{kappa (null: deterministic),
// cosine, nats, stderr, recovered, price_nats, price_stderr, limit_nats}. bounds: n, dim, noise, ceiling_nats, capacity_nats,
// rows[]{name (exact, infonce, barber_agakov), size, nats, stderr, ceiling_nats}, warnings. twist: source, n, dim, classes, noise, rounds,
// fitted_rows, tested_rows, chance, ceiling_nats, capacity_nats, rows[]{strength, nats, stderr, wang_isola, knn, linear}, warnings, svg.
//
// # nat assign
//
//	nat assign Z.npy C.npy [-o PERM.npy] [--duals UV.npz] [--tolerance 0] [--time-limit 10m] [--overwrite] [--workers N]
//	nat assign --cost M.npy [-o PERM.npy] [--duals UV.npz]
//
// Pair points with points at the least sum of squared distances, or the rows of a matrix with its columns at the least
// sum of costs (inf forbids a pair), exactly and with a proof: potentials u and v with u_i + v_j <= c_ij for every pair,
// whose sum no pairing can cost less than. PERM.npy holds for each row the column it is paired with, int64, -1 for a row
// left over; UV.npz holds u and v, float64. Hundreds of thousands of points on both sides are paired without the matrix.
//
// JSON: n, m, cost, mean_cost, lower_bound, gap, relative_gap, optimal, method, seconds, and if so stopped, out, duals.
//
// # nat landscape
//
//	nat landscape figure [--offset 45] [--svg OUT.svg]
//	nat landscape enumerate [--n 7 --dim 2 --instances 20 --seed 1]
//	nat landscape enumerate --points X.npy --targets C.npy
//	nat landscape descend [--n 2000 --dim 16 --batch 2,8,32,128,512] [--svg OUT.svg]
//	nat landscape descend --run RUN DATA [--batch 64,256,1024] [--epochs 3] [--lr 0] [--limit 4096]
//
// Does re-pairing one minibatch at a time get stuck? figure draws the smallest example, three points on a circle;
// enumerate counts the local minima among all permutations of up to nine points; descend runs thousands of points to a
// standstill and compares the cost with the exact optimum. With --run the points are rows of DATA as a run's network
// embeds them, with the targets that training left them, and beside the network held still it goes on training, for
// each batch size and, at the run's, with --assign pool and global; RUN is not changed.
//
// JSON: figure: offset_degrees, tolerance, permutations[]{perm, cost, local_minimum, global_minimum}, local_minima,
// global_minima, trapping_offsets. enumerate: n, dim, instances, tolerance, rows[]{batch, local_minima, local_minima_sd,
// trapped, global_minima, neighbours, out_degree_bound, edge_probability, edge_probability_quoted}. descend: n, dim,
// tolerance, optimal_cost, optimal_seconds, start_cost, rows[]{batch, assign, theta, epoch, final_cost, optimal_cost,
// excess, steps, last_gain_step, seconds, standstill, improvable}, and with --run also run, data, targets (run, or fresh
// for other data) and warnings. theta is fixed or moving; a row without a standstill is the end of an epoch, 0 the start.
//
// # nat bench
//
//	nat bench gemm [--sizes 1024,256x1024x784] [--steps 15] [--workers N]
//	nat bench conv [--encoder resnet18] [--batch 64] [--size 32] [--winograd=false] [--steps 9] [--workers N]
//	nat bench train [--encoder convnet] [--batch 256] [--views 1] [--dim 64] [--winograd=false] [--steps 50] [--workers N]
//	nat bench embed [--encoder convnet] [--batch 256] [--dim 64] [--winograd=false] [--steps 50] [--workers N]
//	nat bench assign [--sizes 256,1024] [--kind uniform] [--dim 64] [--steps 15] [--workers N]
//
// Measure matrix products, convolutions, whole training steps and embedding on this machine, as shares of its peak of
// float32, which is measured in the same run. Times are medians. Flops are those of the definitions, so that Winograd's
// algorithms, which compute fewer, have an effective rate, marked so, beside that of the products they do compute.
//
// JSON of gemm and conv: rows[]{name, algorithm, flops, seconds, best_seconds, spread, gflops, fraction_of_peak},
// peak_gflops, threads, kernel, steps. Rows of gemm have transpose; rows of conv have variant, encoder, direction, count,
// chosen, effective, true_gflops, true_fraction_of_peak, bytes, gbytes_per_second, fraction_of_copy, memory_bound, and
// beside them are totals[]{encoder, batch, direction, algorithm, flops, seconds, gflops, fraction_of_peak} and
// copy_gbytes_per_second.
//
// JSON of assign: rows[]{n, dim, median_seconds, method, relative_gap, repeats}, kind, threads, kernel.
//
// JSON of train and embed: encoder, input, batch, dim, parameters, winograd, flops_per_image, images_per_second, seconds,
// best_seconds, spread, gflops, peak_gflops, fraction_of_peak, effective, true_gflops, true_fraction_of_peak, threads,
// kernel, steps, step_allocs, peak_bytes; of train also views and the shares of the step, forward_fraction,
// assignment_fraction, backward_fraction, optimizer_fraction.
//
// # nat info
//
//	nat info RUN
//
// Show the data, the network, the options, the checkpoints and the last figures of a run.
//
// # nat verify
//
//	nat verify RUN [DATA]
//
// Check every checksum of a run, that its pairing is a bijection, and that the data are those it was trained on.
//
// JSON: run, checked[], problems[].
//
// # nat version
//
//	nat version
//
// Print the version, the Go release, the instruction set of the kernels and the features of the processor.
//
// JSON: version, revision, modified, go, os, arch, cpus, kernel, cpu_features[].
package main
