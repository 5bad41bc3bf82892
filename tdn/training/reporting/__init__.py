"""What a run tells: log.jsonl as the record, TensorBoard for curves, the console for the moment.

An event is a flat dict and goes to every sink; sinks exist on the main process only. Events:

    start       what runs where: versions, device, processes, classes, optimizer backend, precision
    train       of the steps since the last train event: loss, top1, clips, clips_per_second,
                clips_per_second_each, data_wait; at that step: lr, gradient_norm, memory, eta; of
                the whole run so far, steps left out: skipped (not finite), overflows (fp16's)
    skipped     a step whose update was left out: reason (loss or gradient), rows of the list
    validation  loss, top1, top5, best_top1, clips
    end         the same metrics, and seconds in all

``time`` is in seconds since 1970, ``step`` counts finished steps over the whole run, ``epoch``
counts from 1. top1 and top5 are in percent, and so is data_wait: the part of the time in which the
network waited for clips, on the process that waited longest. clips_per_second is of all processes
together, clips_per_second_each of one of them, which has a GPU. memory is the most so far in GB, on
the process that has most: what torch holds of a GPU's memory, or the process of the host's. eta is
in seconds, of training alone. The loss and norm of a line are null where they are not finite.
"""
