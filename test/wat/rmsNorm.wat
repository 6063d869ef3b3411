(func (export "rmsNorm") (param i32 i32 i32 i32) (local i32 i32 i32 i32 i32 i32 i32 i32) (local v128 v128) (local i32 i32 i32) (local v128 v128) (local i32 i32 i32) (local v128) (local i32) (local v128)
  (local.set 4 (i32.load (local.get 0)))
  (local.set 5 (i32.load offset=4 (local.get 0)))
  (local.set 6 (i32.load offset=8 (local.get 0)))
  (local.set 7 (i32.load offset=12 (local.get 0)))
  (local.set 8 (i32.load offset=16 (local.get 0)))
  (local.set 9 (local.get 1))
  (if (i32.lt_u (local.get 9) (local.get 2)) (then
    (loop
      (local.set 10 (i32.shl (i32.mul (local.get 9) (local.get 7)) (i32.const 2)))
      (local.set 11 (i32.add (local.get 5) (local.get 10)))
      (local.set 13 (v128.const i32x4 0x0 0x0 0x0 0x0))
      (local.set 15 (i32.and (local.get 7) (i32.const 3)))
      (local.set 16 (i32.shl (i32.sub (local.get 7) (local.get 15)) (i32.const 2)))
      (local.set 14 (i32.const 0))
      (if (i32.lt_u (local.get 14) (local.get 16)) (then
        (loop
          (local.set 12 (v128.load align=1 (i32.add (local.get 11) (local.get 14))))
          (local.set 13 (f32x4.add (local.get 13) (f32x4.mul (local.get 12) (local.get 12))))
          (local.set 14 (i32.add (local.get 14) (i32.const 16)))
          (br_if 0 (i32.lt_u (local.get 14) (local.get 16)))
        )
      ))
      (local.set 14 (local.get 16))
      (if (local.get 15) (then
        (local.set 17 (i32x4.gt_s (i32x4.splat (local.get 15)) (v128.const i32x4 0x0 0x1 0x2 0x3)))
        (local.set 12 (v128.load align=1 (i32.add (local.get 11) (local.get 14))))
        (local.set 13 (f32x4.add (local.get 13) (v128.and (f32x4.mul (local.get 12) (local.get 12)) (local.get 17))))
      ))
      (local.set 18 (f32x4.splat (f32.div (f32.const 1) (f32.sqrt (f32.add (f32.div (f32.add (f32.add (f32x4.extract_lane 0 (local.get 13)) (f32x4.extract_lane 1 (local.get 13))) (f32.add (f32x4.extract_lane 2 (local.get 13)) (f32x4.extract_lane 3 (local.get 13)))) (f32.convert_i32_u (local.get 7))) (f32.reinterpret_i32 (local.get 8)))))))
      (local.set 20 (i32.and (local.get 7) (i32.const 3)))
      (local.set 21 (i32.shl (i32.sub (local.get 7) (local.get 20)) (i32.const 2)))
      (local.set 19 (i32.const 0))
      (if (i32.lt_u (local.get 19) (local.get 21)) (then
        (loop
          (v128.store align=1 (i32.add (i32.add (local.get 4) (local.get 10)) (local.get 19)) (f32x4.mul (f32x4.mul (v128.load align=1 (i32.add (local.get 11) (local.get 19))) (local.get 18)) (v128.load align=1 (i32.add (local.get 6) (local.get 19)))))
          (local.set 19 (i32.add (local.get 19) (i32.const 16)))
          (br_if 0 (i32.lt_u (local.get 19) (local.get 21)))
        )
      ))
      (local.set 19 (local.get 21))
      (if (local.get 20) (then
        (local.set 22 (i32x4.gt_s (i32x4.splat (local.get 20)) (v128.const i32x4 0x0 0x1 0x2 0x3)))
        (local.set 23 (i32.add (i32.add (local.get 4) (local.get 10)) (local.get 19)))
        (local.set 24 (f32x4.mul (f32x4.mul (v128.load align=1 (i32.add (local.get 11) (local.get 19))) (local.get 18)) (v128.load align=1 (i32.add (local.get 6) (local.get 19)))))
        (if (i32.gt_u (local.get 20) (i32.const 0)) (then
          (v128.store32_lane align=1 0 (local.get 23) (local.get 24))
        ))
        (if (i32.gt_u (local.get 20) (i32.const 1)) (then
          (v128.store32_lane offset=4 align=1 1 (local.get 23) (local.get 24))
        ))
        (if (i32.gt_u (local.get 20) (i32.const 2)) (then
          (v128.store32_lane offset=8 align=1 2 (local.get 23) (local.get 24))
        ))
      ))
      (local.set 9 (i32.add (local.get 9) (i32.const 1)))
      (br_if 0 (i32.lt_u (local.get 9) (local.get 2)))
    )
  )))
