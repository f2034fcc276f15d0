"""Option name to one line of help, shown by the command line, /docs and the README's table."""

from __future__ import annotations

OPTION_HELP = {
    "quality": "`standard` (default): segmentation, then matting of hair, fur and glass; `fast`: without matting; "
    "`high`: a stronger segmentation, and matting once more along the edge at the photo's own resolution. `high` is "
    "there only where it was installed (`make models HIGH=1`).",
    "mode": "What the subject is, for the matting: `product` (straight edges, little feathering), `portrait` (hair, "
    "soft shoulders), `object` (between the two) or `auto` (default, decided from the photo). Not with `fast`.",
    "output": "`png` (default, RGBA), `webp` (RGBA, lossless), `jpeg` or `jpg` (on a background), `mask` (8-bit grey "
    "PNG) or `zip` (`color.jpg`, the subject's own colours without transparency, and `alpha.png`, 8-bit grey).",
    "background": "`transparent` (default), `#rgb`, `#rgba`, `#rrggbb`, `#rrggbbaa` (`#` optional) or a CSS colour "
    "name. JPEG has no transparency and takes `white` by default.",
    "size": "Largest size of the result in megapixels (neither pixels nor a factor), e.g. `1.5`; the default keeps the "
    "photo's own size. "
    "It never enlarges: only `canvas` and `scale` do.",
    "roi": "Region in which the subject is searched, `x1 y1 x2 y2`, each in `px` of the upright photo or in `%`; what "
    "lies outside becomes transparent.",
    "crop": "`on`: the result is cut to the subject and its `margin`; `off` (default).",
    "margin": "Space around the cropped subject: `30px` or `10%` of the subject, as 1, 2 (top and bottom, left and "
    "right) or 4 values (top, right, bottom, left); at most 500px or 50% a side. Only with `crop`.",
    "scale": "Size of the subject, `10%` to `100%` of the canvas, centred unless `position` says otherwise; may "
    "enlarge. `original` (default) keeps it.",
    "position": "Place of the subject in the canvas: `original` (default), `center`, `N%` or `N% N%` (across, down; "
    "`0%` left or top, `100%` right or bottom).",
    "canvas": "Size of the result: `original` (default), `square` (the longer side, nothing enlarged), or `WxH` in "
    "pixels, to which the photo is fitted, enlarged if need be.",
    "shadow": "`soft`, or with its opacity `soft 40%`: a soft shadow below the subject; `none` (default).",
    "channels": "`rgba` (default), or `alpha`: the result is the alpha as a grey image.",
    "alpha": "`straight` (default) or `premultiplied` colours, where the result is transparent.",
    "semitransparency": "`on` (default): see-through parts of the subject stay so; `off`: its inside becomes opaque, "
    "and only the edge keeps partial transparency.",
    "max_bytes": "Largest file, bytes. The quality of `jpeg`, of the zip's `color.jpg` and, where lossless is too "
    "large, of `webp` is searched; `png` and `mask` are lossless and only packed harder. What cannot fit is an error.",
    "dpi": "Resolution written into the file (PNG, JPEG and both files of `zip`), 1 to 9600; no pixel changes.",
    "preset": "A marketplace's published requirement as options, with a check of the result: `amazon`, `ebay`, "
    "`google`, `walmart`. Options that you give win.",
    "decontaminate": "`on` (default): the old background's colour is taken out of mixed pixels of the edge; `off`: the "
    "photo's own colours.",
    "cleanup": "`on` (default): loose specks are removed, pinholes filled and jagged edges smoothed; `off`: the alpha "
    "as the networks gave it.",
    "icc": "`keep` (default): the photo's colour profile is embedded in the result; `srgb`: colours are converted.",
}
